// Why a frame was dropped, why a flow ended, and what else is worth counting: each listed once,
// with the name that operators see and a line of explanation.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mqlb::base {

// Every frame that goes in and causes no frame to go on has exactly one of these.
#define MQLB_DROP_REASONS(X)                                                                       \
  X(truncated_frame, "truncated-frame", "shorter than its headers say")                            \
  X(over_mtu, "over-mtu", "larger than the port's MTU (a peer's TSO or GRO?)")                     \
  X(foreign_mac, "foreign-mac", "addressed to another station")                                    \
  X(unknown_ethertype, "unknown-ethertype", "not IPv4, IPv6 or ARP")                               \
  X(ipv6_group, "ipv6-group", "IPv6 to a group, other than neighbour discovery")                   \
  X(ipv6_extension, "ipv6-extension", "IPv6 packet with an extension header")                      \
  X(bad_ip_header, "bad-ip-header", "IP header malformed")                                         \
  X(ip_options, "ip-options", "IPv4 options, which are refused")                                   \
  X(bad_ip_checksum, "bad-ip-checksum", "IPv4 header checksum wrong")                              \
  X(ip_fragment, "ip-fragment", "an IP fragment")                                                  \
  X(bad_source_address, "bad-source-address", "source address is ours, or none of a host's")       \
  X(foreign_address, "foreign-address", "IP destination is not ours")                              \
  X(unknown_protocol, "unknown-protocol", "neither TCP nor ICMP")                                  \
  X(bad_tcp_header, "bad-tcp-header", "TCP header or its options malformed")                       \
  X(bad_tcp_checksum, "bad-tcp-checksum", "TCP checksum wrong or left partial")                    \
  X(bad_tcp_flags, "bad-tcp-flags", "a combination of TCP flags that means nothing")               \
  X(bad_icmp, "bad-icmp", "ICMP malformed or its checksum wrong")                                  \
  X(icmp_ignored, "icmp-ignored", "ICMP of a type that is not answered or translated")             \
  X(icmp_unknown_flow, "icmp-unknown-flow", "ICMP error about a flow that is not ours")            \
  X(bad_arp, "bad-arp", "ARP malformed")                                                           \
  X(icmp_consumed, "icmp-consumed", "ICMP error that was written anew for the other family")       \
  X(arp_consumed, "arp-consumed", "ARP that was read and needs no answer")                         \
  X(bad_neighbour, "bad-neighbour", "neighbour discovery malformed, or from beyond the link")      \
  X(neighbour_consumed, "neighbour-consumed",                                                      \
    "neighbour discovery that was read and needs no answer")                                       \
  X(check_consumed, "check-consumed", "TCP segment of a health check, read by control")            \
  X(no_listener, "no-listener", "TCP to our address where nothing listens; answered by RST")       \
  X(unknown_flow, "unknown-flow", "TCP segment of no flow; answered by RST")                       \
  X(unknown_flow_quiet, "unknown-flow-quiet",                                                      \
    "TCP segment of no flow; RST withheld (is one, or rate limit)")                                \
  X(source_denied, "source-denied", "the listener's lists refuse the client's address")            \
  X(listener_full, "listener-full", "the listener has all the connections it may have")            \
  X(handshake_stale, "handshake-stale",                                                            \
    "first bytes long after the SYN, to a listener with limits: the client may have given up")     \
  X(listener_rate, "listener-rate", "more connections per second than the listener may take")      \
  X(source_full, "source-full", "the client's source has all the connections it may have")         \
  X(source_rate, "source-rate", "more connections per second than a source may make")              \
  X(early_segment, "early-segment",                                                                \
    "overtook the segment that completes the handshake; the client repeats it")                    \
  X(flow_table_full, "flow-table-full", "no room for another flow")                                \
  X(connecting_full, "connecting-full", "too many clients between handshake and splice")           \
  X(handshake_consumed, "handshake-consumed", "segment read while its connection is being opened") \
  X(outside_window, "outside-window", "segment outside what its connection can accept")            \
  X(held_full, "held-full", "more segments than can be held before the broker answers")            \
  X(absorbed_ack, "absorbed-ack",                                                                  \
    "broker's ACK that only covers what the client does not know of")                              \
  X(refused_flow, "refused-flow", "segment of a client that was refused")                          \
  X(neighbour_unresolved, "neighbour-unresolved", "next hop's link address not known yet")         \
  X(no_buffer, "no-buffer", "no free packet buffer")                                               \
  X(ring_full, "ring-full", "another core's queue is full")                                        \
  X(tx_full, "tx-full", "the port had no room to send")                                            \
  X(no_owner, "no-owner", "no core has the role that this frame needs")

// Every flow record that was taken has exactly one of these when it is given back.
#define MQLB_END_REASONS(X)                                                                      \
  X(closed, "closed", "both sides closed and acknowledged it")                                   \
  X(client_reset, "client-reset", "the client sent RST")                                         \
  X(broker_reset, "broker-reset", "the broker sent RST")                                         \
  X(idle_timeout, "idle-timeout", "silent for longer than keep alive allows")                    \
  X(half_close_timeout, "half-close-timeout", "one side closed, the other did not follow")       \
  X(replaced, "replaced", "the client began anew from the same address and port")                \
  X(backend_closed, "backend-closed", "closed since its backend drains, or is down")             \
  X(client_left, "client-left", "the client closed before it was connected to a broker")         \
  X(connect_timeout, "connect-timeout", "no complete CONNECT within the listener's deadline")    \
  X(connect_too_long, "connect-too-long", "CONNECT longer than the listener allows")             \
  X(not_connect, "malformed-not-connect", "first packet is not a CONNECT")                       \
  X(fixed_header_flags, "malformed-fixed-header-flags", "reserved bits of the first byte set")   \
  X(remaining_length, "malformed-remaining-length", "remaining length ill-formed or too small")  \
  X(protocol_name, "malformed-protocol-name", "protocol name neither MQTT nor MQIsdp")           \
  X(protocol_version, "malformed-protocol-version", "protocol level unknown")                    \
  X(connect_flags, "malformed-connect-flags", "connect flags that contradict each other")        \
  X(properties, "malformed-properties", "MQTT 5 properties unknown, duplicate or cut")           \
  X(string_encoding, "malformed-string", "ill-formed UTF-8")                                     \
  X(client_id, "malformed-client-id", "empty Client ID without a clean session")                 \
  X(field_truncated, "malformed-truncated", "a field runs past the packet")                      \
  X(trailing_bytes, "malformed-trailing-bytes", "bytes after the last field")                    \
  X(no_buffer, "no-buffer", "no memory to hold the CONNECT")                                     \
  X(no_backend, "no-backend", "no broker takes clients; client got CONNACK unavailable")         \
  X(backends_full, "backends-full", "each has its max-connections; client got CONNACK busy")     \
  X(backends_failed, "backends-failed", "no broker answered; client got CONNACK unavailable")    \
  X(snat_exhausted, "snat-exhausted", "no SNAT port free; client got CONNACK unavailable")       \
  X(proxy_full, "proxy-full", "no room for another broker flow; client got CONNACK unavailable") \
  X(client_id_rate, "client-id-rate", "the Client ID connects too often; client got CONNACK")    \
  X(options_mismatch, "options-mismatch",                                                        \
    "brokers lack a TCP option that the client was promised")                                    \
  X(broker_silent, "broker-silent", "the broker stopped answering before the splice had settled")

// What happened besides.
#define MQLB_EVENTS(X)                                                                            \
  X(frames_in, "frames-in", "frames received by data cores")                                      \
  X(frames_out, "frames-out", "frames given to ports")                                            \
  X(frames_built, "frames-built", "frames made by the balancer itself")                           \
  X(frames_handed_over, "frames-handed-over", "frames given to the core that owns their flow")    \
  X(syn_answered, "syn-answered", "SYNs answered by a cookie")                                    \
  X(cookie_accepted, "cookie-accepted", "clients whose handshake completed")                      \
  X(source_uncounted, "source-uncounted",                                                         \
    "clients let in without a count of their source, for want of room")                           \
  X(client_id_uncounted, "client-id-uncounted",                                                   \
    "CONNECTs let in without regard to client-id-rate, for want of room")                         \
  X(client_id_contested, "client-id-contested",                                                   \
    "CONNECTs of a Client ID that several addresses fight over")                                  \
  X(connect_parsed, "connect-parsed", "complete CONNECTs")                                        \
  X(connect_owned, "connect-owned", "CONNECTs that had to be acknowledged before the broker did") \
  X(broker_syn, "broker-syn", "SYNs sent to brokers")                                             \
  X(broker_syn_again, "broker-syn-again", "SYNs to brokers repeated")                             \
  X(broker_refused, "broker-refused", "tries that a broker refused")                              \
  X(broker_unanswered, "broker-unanswered", "tries that a broker left unanswered")                \
  X(broker_hung_up, "broker-hung-up",                                                             \
    "tries that a broker accepted and ended, or left alone, before its first byte")               \
  X(retry_forgone, "retry-forgone",                                                               \
    "clients bound to a broker before its first byte, for want of room")                          \
  X(broker_bad_options, "broker-bad-options", "tries whose TCP options did not fit the client's") \
  X(broker_stale, "broker-stale", "SYNs that met an old connection at the broker")                \
  X(spliced, "spliced", "flows that reached the spliced state")                                   \
  X(header_again, "header-again", "PROXY headers or owned bytes repeated to a broker")            \
  X(connack_unavailable, "connack-unavailable",                                                   \
    "clients refused by CONNACK: no broker, all are full, or their Client ID is above its rate")  \
  X(rst_to_client, "rst-to-client", "RSTs made for clients")                                      \
  X(rst_to_broker, "rst-to-broker", "RSTs made for brokers")                                      \
  X(packets_to_broker, "packets-to-broker", "spliced packets, client to broker")                  \
  X(packets_to_client, "packets-to-client", "spliced packets, broker to client")                  \
  X(icmp_translated, "icmp-translated", "ICMP errors passed to the other side of a flow")         \
  X(icmp_echo, "icmp-echo", "echo requests answered")                                             \
  X(arp_answered, "arp-answered", "ARP requests answered")                                        \
  X(neighbour_answered, "neighbour-answered", "neighbour solicitations answered")                 \
  X(client_moved, "client-moved", "clients whose link address changed during a flow")             \
  X(messages_lost, "messages-lost", "messages between cores that found a full queue")

#define MQLB_ENUM(id, name, help) id,
enum class Drop : uint8_t { MQLB_DROP_REASONS(MQLB_ENUM) count_ };
enum class End : uint8_t { MQLB_END_REASONS(MQLB_ENUM) count_ };
enum class Event : uint8_t { MQLB_EVENTS(MQLB_ENUM) count_ };
#undef MQLB_ENUM

struct ReasonText {
  std::string_view name;
  std::string_view help;
};

#define MQLB_TEXT(id, name, help) ReasonText{name, help},
inline constexpr std::array kDropTexts{MQLB_DROP_REASONS(MQLB_TEXT)};
inline constexpr std::array kEndTexts{MQLB_END_REASONS(MQLB_TEXT)};
inline constexpr std::array kEventTexts{MQLB_EVENTS(MQLB_TEXT)};
#undef MQLB_TEXT

}  // namespace mqlb::base
