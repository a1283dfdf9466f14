"""The rows of the golden suite: what is played, with which configuration, and what it shows."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    name: str
    shows: str
    config: str = "one-broker"
    captures: tuple = ()  # scenarios, or texts of recorded/; the row's own name if none
    options: tuple = ()  # of mqlb-replay; a word that ends with .conf is a configuration
    twice: bool = False  # run again, with the same output to the byte
    ipv6: bool = False  # packets of IPv6 are taken apart


def row(name, shows, options="", captures="", **fields):
    return Row(name, shows, captures=tuple(captures.split()) or (name,),
               options=tuple(options.split()), **fields)


_CAPTURE = "--brokers capture"

_SESSIONS = [
    row("mqtt31-session", "MQTT 3.1 from CONNECT to the last FIN", twice=True),
    row("mqtt311-session", "MQTT 3.1.1; header before CONNECT, then nothing but translation"),
    row("mqtt5-session", "MQTT 5", twice=True),
    row("mqtt5-session-of-capture", "the captured server's side instead of a stub's", _CAPTURE,
        "mqtt5-session"),
    row("mqtt5-properties", "the Client ID is found behind CONNECT properties",
        config="three-brokers"),
    row("empty-client-id-311", "an empty Client ID: the source address decides",
        config="three-brokers"),
    row("empty-client-id-31", "an empty Client ID in MQTT 3.1 is the broker's to refuse", _CAPTURE),
    row("bridge", "the high bit of a bridge's protocol level"),
    row("empty-client-id-5", "an empty Client ID in MQTT 5, with the server's choice of one",
        _CAPTURE, config="three-brokers"),
    row("empty-client-id-spread", "empty Client IDs are spread when the pool says so",
        "--clients 6", "empty-client-id-311", config="fallback-spread"),
    row("user-name-and-token", "a CONNECT over two segments: the first is not acknowledged by us"),
    row("key-user-name", "the user name decides, not the Client ID", "--clients 3",
        "user-name-and-token", config="key-user-name"),
    row("key-source-address", "the source address decides", "--clients 3", "mqtt5-properties",
        config="key-source-address"),
    row("last-will", "a will lies behind the Client ID; the client ends with RST"),
    row("pipelined-in-one-segment", "what follows the CONNECT in its segment goes with it"),
    row("pipelined-in-more-segments", "segments behind the CONNECT are held, then sent in order"),
    row("pings", "a flow lives on its keep alive", config="short-idle"),
    row("silent-beyond-keep-alive", "RST to both sides after 1.5 x keep alive and 10 s",
        _CAPTURE, config="short-idle"),
    row("large-download", "200 full segments of a captured broker", _CAPTURE, twice=True),
    row("large-upload", "60 full segments of the client"),
]

_CLIENTS = [
    row("twelve-clients", "twelve Client IDs over three brokers", config="three-brokers",
        twice=True),
    row("twelve-clients-uneven", "the same over brokers of weights 1, 5 and 1",
        captures="twelve-clients", config="uneven-brokers"),
    row("twelve-clients-baseline", "taking b2 out moves only the clients of b2",
        "--baseline three-brokers.conf", "twelve-clients", config="two-of-three-brokers"),
    row("many-clients", "fifteen connections, each by 40 clients at 2,000 a second",
        "--clients 40 --rate 2000 --speed max", "connect-split-everywhere",
        config="three-brokers", twice=True),
    row("repeated-client", "a client that connects five times meets the same broker",
        "--repeat 5", "mqtt5-properties", config="three-brokers"),
    row("client-network", "clients are played from another network",
        "--client-network 198.18.0.128/25 --clients 3", "mqtt311-session"),
    row("two-clients-with-one-client-id", "a takeover ends at one broker", config="three-brokers"),
    row("client-moves", "another address and port, the same broker", config="three-brokers"),
    row("address-used-again-after-close", "a connection on the addresses of a closed one"),
    row("address-used-again-without-close", "a connection replaces one that never closed"),
    row("address-used-again-in-replay", "the same, with the server's side as captured", _CAPTURE,
        "address-used-again-without-close"),
    row("two-captures", "two captures are played on one time line", "",
        "mqtt311-session twelve-clients"),
    row("other-server", "clients of another server connect to the only listener"),
    row("two-listeners", "a listener is named where several could stand for the captured server",
        "--target 198.18.0.11:1884", "other-server", config="two-listeners"),
    row("which-listener", "exit 2 if none is named", "", "other-server", config="two-listeners"),
    row("other-port", "connections to other ports are not played", "--port 8883",
        "mqtt311-session"),
]

_LINKS = [
    row("link-vlan", "played without its VLAN tag"),
    row("link-stacked-vlan", "played without its two VLAN tags"),
    row("link-cooked", "Linux cooked capture"),
    row("link-cooked-2", "Linux cooked capture, version 2"),
    row("link-raw-ip", "packets without a link header"),
    row("big-endian-capture", "the byte order of another machine"),
    row("midstream-capture", "a capture without its handshake", _CAPTURE),
    row("ipv6-session", "IPv6 is played over IPv4, from an address of the spare network"),
    row("loopback-session", "so is loopback"),
    row("list-links", "--list of captures of several kinds", "--list",
        "link-vlan link-cooked-2 link-raw-ip ipv6-session mqtt5-properties"),
    row("list-hostile", "--list says what is no connection, and why", "--list",
        "unknown-flow syn-flood senseless-flags ip-fragments other-network-layers arp-requests "
        "echo-requests truncated-frames bad-tcp-headers bad-ip-headers land"),
]

_IPV6 = [
    row("ipv6", "IPv6 from end to end", captures="ipv6-session", config="ipv6", twice=True,
        ipv6=True),
    row("ipv6-clients", "IPv6 clients of an IPv4 broker, which is told their addresses",
        captures="ipv6-session", config="ipv6-clients", ipv6=True),
    row("ipv6-broker", "IPv4 clients of an IPv6 broker", captures="mqtt5-properties",
        config="ipv6-broker", twice=True, ipv6=True),
    row("ipv6-proxy-v1", "a header of version 1 for IPv6 clients", captures="ipv6-session",
        config="ipv6-proxy-v1", ipv6=True),
    row("ipv4-over-ipv6", "what was captured over IPv4 is played over IPv6, by two clients of the "
        "spare network", f"{_CAPTURE} --clients 2", "mqtt5-session", config="ipv6", ipv6=True),
    row("ipv6-client-network", "clients are played from another network",
        "--client-network 2001:db8:0:c:1::/80 --clients 3 --speed max", "ipv6-session",
        config="ipv6", ipv6=True),
    row("ipv6-large-upload", "full segments of IPv4 clients are too large for IPv6: the client is "
        "told so", captures="large-upload", config="ipv6-broker", ipv6=True),
    row("ipv6-faults", "losses and reordering on IPv6",
        "--fault all:loss=0.1,reorder=0.1 --seed 5", "ipv6-session mqtt311-session",
        config="both-families", twice=True, ipv6=True),
    row("both-families", "a listener for each family: each client finds its own", "",
        "ipv6-session mqtt311-session", config="both-families", ipv6=True),
    row("network-of-the-other-family", "exit 2: clients of an IPv6 listener have no IPv4 addresses",
        "--client-network 198.18.0.128/25", "ipv6-session", config="ipv6"),
]

_CONNECTS = [
    row("connect-byte-by-byte", "bytes that the client waits for are acknowledged, and ours then"),
    row("connect-bytes-at-once", "27 segments before the Client ID is complete"),
    row("connect-64k", "64 KiB over 46 segments", config="large-connect"),
    row("connect-64k-too-long", "the same where 16 KiB are allowed", captures="connect-64k"),
    row("client-id-65535", "the longest Client ID", config="large-connect"),
    row("connect-split-everywhere", "a CONNECT in two segments, cut at each byte"),
    row("third-ack-missing", "the CONNECT itself completes the handshake", _CAPTURE),
    row("syn-repeated", "each SYN gets the same answer"),
    row("third-ack-repeated", "repeated ACKs of the handshake change nothing", _CAPTURE),
    row("connect-retransmitted", "repetitions of a CONNECT that is held",
        "--fault brokers:delay=150000"),
    row("connect-segments-reordered", "last, first, middle"),
    row("connect-segments-overlap", "a repetition that holds more"),
    row("syn-with-data", "data in a SYN is not taken; the client repeats it"),
    row("connect-with-fin", "CONNECT and FIN in one segment reach the broker"),
    row("no-timestamps", "a client without timestamps"),
    row("no-sack", "a client without SACK"),
    row("no-window-scale", "a client without window scale"),
    row("only-mss", "a client with an MSS of 536 and nothing else", _CAPTURE),
    row("no-options", "a client whose SYN has no option: its MSS is 536"),
    row("tiny-mss", "an MSS of 88 becomes 64 at the broker, the next that a cookie can hold",
        _CAPTURE),
    row("largest-window-scale", "a window scale of 14"),
    row("server-without-timestamps", "a broker without timestamps cannot take such a client",
        _CAPTURE, config="three-brokers"),
    row("server-without-timestamps-again", "but when the client returns it can",
        "--brokers capture --repeat 2", "server-without-timestamps"),
    row("server-without-sack", "a broker without SACK", _CAPTURE),
    row("server-without-window-scale", "a broker without window scale: windows are shifted",
        _CAPTURE),
    row("server-with-small-mss", "a broker with a small MSS", _CAPTURE),
    row("small-mtu", "what the brokers' network can carry bounds the MSS",
        captures="user-name-and-token", config="small-mtu"),
    row("client-numbers-wrap", "the client's sequence numbers wrap"),
    row("client-numbers-wrap-in-connect", "they wrap within the CONNECT"),
    row("client-numbers-begin-at-zero", "they wrap between PROXY header and CONNECT"),
    row("server-numbers-wrap", "the broker's sequence numbers wrap", _CAPTURE),
    row("timestamps-wrap", "both clocks wrap", _CAPTURE),
]

_HEADERS = [
    row("no-proxy-header", "no header where the pool wants none", captures="mqtt5-properties",
        config="no-proxy-header"),
    row("proxy-v1", "a header of version 1", captures="mqtt5-properties", config="proxy-v1"),
    row("proxy-v2-tlvs", "checksum and unique id in the header", captures="mqtt5-properties",
        config="proxy-v2-tlvs"),
    row("no-proxy-header-byte-by-byte", "owned bytes without a header", "", "connect-byte-by-byte",
        config="no-proxy-header"),
]

_LOSSES = [
    row("loss-and-reordering", "captured losses, SACK blocks translated", _CAPTURE, twice=True),
    row("loss-and-reordering-of-stub", "the same against a stub", "", "loss-and-reordering"),
    row("loss-without-sack", "captured losses without SACK", _CAPTURE),
    row("repeated-in-vain", "DSACK", _CAPTURE),
    row("connack-lost", "the CONNACK is lost behind the capture", _CAPTURE),
    row("fins-lost", "FINs are repeated", _CAPTURE),
    row("client-window-closes", "the client's window closes and opens", _CAPTURE),
    row("server-window-closes", "the broker's window closes and opens", _CAPTURE),
    row("window-updates", "windows change without data", _CAPTURE),
    row("keepalive-probes", "TCP keepalive from both sides", _CAPTURE),
    row("fault-loss", "one frame in ten is lost on all wires", "--fault all:loss=0.1 --seed 3",
        "mqtt5-session", twice=True),
    row("fault-loss-of-split-connect", "the same with a CONNECT in many segments",
        "--fault all:loss=0.1 --seed 4", "connect-bytes-at-once"),
    row("fault-reorder-and-duplicate", "frames overtake each other and come twice",
        "--fault all:reorder=0.2,duplicate=0.2 --seed 5", "large-upload", twice=True),
    row("fault-corrupt", "damaged frames are dropped by their checksums",
        "--fault all:corrupt=0.1 --seed 6", "mqtt311-session"),
    row("fault-delay", "a slow network on both sides", "--fault all:delay=80000,jitter=20000",
        "mqtt311-session"),
]

_ENDS = [
    row("client-half-closes", "the broker sends on after the client's FIN", _CAPTURE),
    row("server-closes-first", "the broker's FIN with data comes first", _CAPTURE),
    row("both-close-at-once", "FINs that cross", _CAPTURE),
    row("client-closes-before-connect", "not played: there is nothing that would be balanced"),
    row("client-closes-within-connect", "no broker hears of half a CONNECT"),
    row("client-resets-before-connect", "nor if it ends with RST"),
    row("client-resets-while-waiting", "RST while the broker is asked",
        "--fault brokers:delay=20000"),
    row("client-resets-after-connack", "RST goes through"),
    row("client-resets-after-fin", "RST behind the client's FIN", _CAPTURE),
    row("server-resets", "the broker's RST goes through", _CAPTURE),
    row("server-refuses-client", "a CONNACK that says no is the broker's", _CAPTURE),
]

_BROKERS = [
    row("broker-refuses", "the next broker is tried at once", "--broker b1:refuse",
        "twelve-clients", config="three-brokers"),
    row("broker-is-silent", "the next broker is tried after connect-timeout", "--broker b2:silent",
        "twelve-clients", config="three-brokers"),
    row("broker-resets", "a broker that accepts and resets is replaced by the next one",
        "--broker b3:reset", "twelve-clients", config="three-brokers"),
    row("broker-is-mute", "one that accepts and says nothing is waited for",
        "--broker b1:mute --patience 2", "mqtt5-properties", config="one-broker"),
    row("all-brokers-refuse", "CONNACK unavailable, then FIN",
        "--broker b1:refuse --broker b2:refuse --broker b3:refuse", "mqtt311-session",
        config="three-brokers"),
    row("all-brokers-refuse-5", "the same in MQTT 5",
        "--broker b1:refuse --broker b2:refuse --broker b3:refuse", "mqtt5-session",
        config="three-brokers"),
    row("all-brokers-are-silent", "the same after three timeouts",
        "--broker b1:silent --broker b2:silent --broker b3:silent", "mqtt31-session",
        config="three-brokers"),
    row("one-try-refused", "no second try where one is allowed",
        "--broker b1:refuse --broker b2:refuse", "twelve-clients", config="one-try"),
    row("no-broker", "a pool without brokers", "", "mqtt5-session", config="no-broker"),
    row("snat-exhausted", "two ports, three clients at a time", "", "twelve-clients",
        config="two-snat-ports"),
    row("unknown-broker", "exit 2 for a broker that is not configured", "--broker b9:refuse",
        "mqtt311-session"),
]

_HOSTILE = [
    row("not-mqtt-garbage", "no CONNECT: closed and counted"),
    row("not-mqtt-tls", "a TLS hello"),
    row("not-mqtt-http", "an HTTP request"),
    row("publish-before-connect", "a PUBLISH, a SUBSCRIBE"),
    row("connect-with-wrong-flags", "reserved and contradicting flags"),
    row("connect-with-wrong-length", "remaining lengths"),
    row("connect-of-unknown-protocol", "protocol names and levels"),
    row("connect-with-bad-utf8", "ill-formed Client IDs"),
    row("connect-with-broken-properties", "MQTT 5 properties"),
    row("connect-with-trailing-bytes", "bytes behind the last field"),
    row("empty-client-id-with-session", "an empty Client ID needs a clean session"),
    row("connect-too-long", "20,000 bytes where 16,384 are allowed"),
    row("connect-announced-too-long", "refused at the announcement"),
    row("connect-never-completed", "a CONNECT that takes longer than its deadline",
        config="short-deadline"),
    row("nothing-after-handshake", "not a byte within the deadline", config="short-deadline"),
    row("connect-before-handshake", "RST for a CONNECT without handshake, sent as a mere frame",
        "--verbatim --port 8883"),
    row("second-connect", "a second CONNECT is for the broker to judge", _CAPTURE),
    row("blind-rst", "forged RSTs leave the connection alone", "--verbatim"),
    row("blind-syn", "so do forged SYNs", "--verbatim"),
    row("blind-data", "and forged ACKs and data", "--verbatim"),
]


def _verbatim(name, shows, **fields):
    return row(name, shows, "--verbatim", **fields)


_FRAMES = [
    _verbatim("unknown-flow", "RST for segments of nobody's flow, but not for RSTs"),
    _verbatim("syn-flood", "200 cookies, and a client in their midst"),
    _verbatim("unknown-flow-flood", "RSTs are rationed", config="few-resets"),
    _verbatim("senseless-flags", "bad-tcp-flags"),
    _verbatim("ecn-and-reserved-flags", "ECN is not negotiated; reserved bits are ignored"),
    _verbatim("bad-checksums", "bad-ip-checksum, bad-tcp-checksum, bad-icmp"),
    _verbatim("ip-options", "ip-options"),
    _verbatim("ip-fragments", "ip-fragment"),
    _verbatim("bad-ip-headers", "bad-ip-header"),
    _verbatim("other-network-layers", "IPv6 that is not ours, unknown-ethertype"),
    _verbatim("other-transports", "unknown-protocol"),
    _verbatim("arp-requests", "answered for our own addresses only"),
    _verbatim("arp-probe-and-announcement", "answered, learnt, and not believed about ourselves"),
    _verbatim("arp-replies", "consumed"),
    _verbatim("arp-broken", "bad-arp, truncated-frame"),
    _verbatim("echo-requests", "answered for our own addresses only"),
    _verbatim("icmp-errors-of-unknown-flows", "icmp-unknown-flow, bad-icmp, icmp-ignored"),
    _verbatim("truncated-frames", "truncated-frame; padding is no harm"),
    _verbatim("bad-tcp-headers", "bad-tcp-header"),
    _verbatim("oversized-frames", "over-mtu"),
    _verbatim("impossible-sources", "bad-source-address"),
    _verbatim("land", "bad-source-address", captures="land mqtt311-session"),
    _verbatim("port-zero", "bad-tcp-header"),
    _verbatim("no-listener", "RST; nothing for foreign addresses"),
    _verbatim("ip-to-everyone", "foreign-mac"),
]

_RECORDED = [
    row("recorded-mosquitto-31", "mosquitto_pub and _sub, MQTT 3.1, with stubs for the broker", "",
        "mosquitto-clients-31"),
    row("recorded-mosquitto-311", "MQTT 3.1.1, over three brokers", "", "mosquitto-clients-311",
        config="three-brokers"),
    row("recorded-mosquitto-5", "MQTT 5, with what Mosquitto said", _CAPTURE,
        "mosquitto-clients-5", twice=True),
    row("recorded-retained-and-will", "a retained message, and a will", _CAPTURE,
        "retained-and-will"),
    row("recorded-paho-session", "a session that is kept stays at its broker", _CAPTURE,
        "paho-session-311", config="three-brokers"),
    row("recorded-paho-properties", "paho with MQTT 5 properties", _CAPTURE, "paho-properties-5"),
    row("recorded-rabbitmq-31", "RabbitMQ, MQTT 3.1", _CAPTURE, "rabbitmq-31"),
    row("recorded-rabbitmq-311", "RabbitMQ, MQTT 3.1.1, with header version 1", _CAPTURE,
        "rabbitmq-311", config="proxy-v1"),
    row("recorded-paho-rabbitmq", "paho and RabbitMQ", _CAPTURE, "paho-rabbitmq-311"),
    row("recorded-bad-line", "real losses and reordering", _CAPTURE, "bad-line", twice=True),
    row("recorded-bad-line-of-stub", "the same with a stub, and more of it",
        "--fault all:loss=0.05,reorder=0.05 --seed 9", "bad-line", twice=True),
]

ROWS = [*_SESSIONS, *_CLIENTS, *_LINKS, *_IPV6, *_CONNECTS, *_HEADERS, *_LOSSES, *_ENDS, *_BROKERS,
        *_HOSTILE, *_FRAMES, *_RECORDED]
