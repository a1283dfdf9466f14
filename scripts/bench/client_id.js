// The Client ID of a CONNECT, for nginx (njs, stream preread): MQTT 3.1, 3.1.1 and 5.0.

var id = '';

// Position behind a variable byte integer and its value, or null while bytes are missing.
function varint(bytes, at) {
    var value = 0;
    for (var shift = 0; shift < 28; shift += 7, at++) {
        if (at >= bytes.length) return null;
        value += (bytes[at] & 0x7f) << shift;
        if (bytes[at] < 0x80) return {at: at + 1, value: value};
    }
    throw new Error('remaining length');
}

// The Client ID, or null while bytes are missing.
function parse(bytes) {
    if (bytes.length < 2) return null;
    if (bytes[0] != 0x10) throw new Error('no CONNECT');
    var remaining = varint(bytes, 1);
    if (!remaining) return null;
    var at = remaining.at;
    if (bytes.length < at + 2) return null;
    var level = at + 2 + bytes.readUInt16BE(at);
    at = level + 4;  // level, flags, keep alive
    if (bytes.length < at) return null;
    if (bytes[level] == 5) {
        var properties = varint(bytes, at);
        if (!properties) return null;
        at = properties.at + properties.value;
    }
    if (bytes.length < at + 2) return null;
    var end = at + 2 + bytes.readUInt16BE(at);
    return bytes.length < end ? null : bytes.toString('utf8', at + 2, end);
}

function preread(s) {
    s.on('upstream', function (data) {
        try {
            var found = parse(data);
        } catch (e) {
            s.deny();
            return;
        }
        if (found === null) return;
        id = found;
        s.off('upstream');
        s.done();
    });
}

function client_id() {
    return id;
}

export default {preread, client_id};
