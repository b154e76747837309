//! What a line looks like, in either format.

use super::{Record, Said};

/// Bytes of a field that a peer chose, at most, in a line.
pub(super) const FIELD_MAX: usize = 1024;

pub(super) fn json_line(record: &Record<'_>, out: &mut Vec<u8>) {
    let mut itoa = itoa::Buffer::new();
    let mut number = |out: &mut Vec<u8>, key: &str, value: u64| {
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(itoa.format(value).as_bytes());
    };
    out.extend_from_slice(b"{\"time\":\"");
    crate::wall::rfc3339_millis(record.unix_ms, out);
    out.extend_from_slice(b"\",\"client\":\"");
    out.extend_from_slice(record.client);
    out.push(b'"');
    if !record.request_id.is_empty() {
        json_text(",\"id\":\"", record.request_id, out);
    }
    json_text(",\"listener\":\"", record.listener.as_bytes(), out);
    match record.said {
        Said::Request {
            method,
            host,
            target,
            protocol,
        } => {
            json_text(",\"method\":\"", method, out);
            json_text(",\"host\":\"", host, out);
            json_text(",\"target\":\"", target, out);
            json_text(",\"protocol\":\"", protocol.as_bytes(), out);
        }
        Said::Line(line) => json_text(",\"line\":\"", line, out),
    }
    number(out, ",\"status\":", u64::from(record.status));
    if let Some(route) = record.route {
        json_text(",\"route\":\"", route.as_bytes(), out);
    }
    if let Some(upstream) = record.upstream {
        json_text(",\"upstream\":\"", upstream.as_bytes(), out);
    }
    if let Some(endpoint) = record.endpoint {
        json_text(",\"endpoint\":\"", endpoint.as_bytes(), out);
        number(out, ",\"attempts\":", u64::from(record.attempts));
    }
    number(out, ",\"bytes_in\":", record.received);
    number(out, ",\"bytes_out\":", record.sent);
    number(out, ",\"us\":{\"total\":", record.timing.total);
    number(out, ",\"head\":", record.timing.head);
    number(out, ",\"policy\":", record.timing.policy);
    if let Some(connect) = record.timing.connect {
        number(out, ",\"connect\":", connect);
    }
    if let Some(wait) = record.timing.wait {
        number(out, ",\"wait\":", wait);
    }
    if let Some(relay) = record.timing.relay {
        number(out, ",\"relay\":", relay);
    }
    json_text("},\"end\":\"", &record.termination, out);
    if let Some(code) = record.code {
        json_text(",\"code\":\"", code.as_bytes(), out);
    }
    if let Some(user_agent) = record.user_agent {
        json_text(",\"user_agent\":\"", user_agent, out);
    }
    if let Some(referer) = record.referer {
        json_text(",\"referer\":\"", referer, out);
    }
    out.extend_from_slice(b"}\n");
}

pub(super) fn combined_line(record: &Record<'_>, out: &mut Vec<u8>) {
    let mut itoa = itoa::Buffer::new();
    out.extend_from_slice(record.client);
    out.extend_from_slice(b" - - [");
    crate::wall::common_log_time(record.unix_ms, out);
    out.extend_from_slice(b"] \"");
    match record.said {
        Said::Request {
            method,
            target,
            protocol,
            ..
        } => {
            escape(method, out);
            out.push(b' ');
            escape(target, out);
            out.push(b' ');
            out.extend_from_slice(protocol.as_bytes());
        }
        Said::Line(line) => escape(line, out),
    }
    out.extend_from_slice(b"\" ");
    out.extend_from_slice(itoa.format(record.status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(itoa.format(record.sent).as_bytes());
    for field in [record.referer, record.user_agent] {
        out.extend_from_slice(b" \"");
        escape(field.unwrap_or(b"-"), out);
        out.push(b'"');
    }
    out.push(b' ');
    escape(or_dash(record.request_id), out);
    for name in [record.route, record.upstream] {
        out.push(b' ');
        escape(name.unwrap_or("-").as_bytes(), out);
    }
    out.push(b' ');
    escape(record.endpoint.unwrap_or("-").as_bytes(), out);
    out.push(b' ');
    out.extend_from_slice(itoa.format(record.timing.total).as_bytes());
    out.push(b' ');
    out.extend_from_slice(&record.termination);
    out.push(b' ');
    out.extend_from_slice(record.code.unwrap_or("-").as_bytes());
    out.push(b'\n');
}

fn or_dash(text: &[u8]) -> &[u8] {
    if text.is_empty() { b"-" } else { text }
}

fn json_text(key: &str, text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    escape(text, out);
    out.push(b'"');
}

/// Escapes what a peer sent for a JSON string; longer texts are cut and marked. The same
/// escapes keep a quoted column of the combined format in its quotes.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    let cut = text.len() > FIELD_MAX;
    let text = &text[..text.len().min(FIELD_MAX)];
    // Without an early exit, so that the loop becomes vector instructions.
    let plain = text.iter().fold(true, |plain, &b| {
        plain & (0x20..0x7f).contains(&b) & (b != b'"') & (b != b'\\')
    });
    if plain {
        out.extend_from_slice(text);
    } else {
        for &byte in text {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                0x20..0x7f => out.push(byte),
                // Bytes above ASCII are shown as the code points of the same number: always
                // valid JSON, whatever the peer sent.
                _ => {
                    const HEX: &[u8; 16] = b"0123456789abcdef";
                    out.extend_from_slice(b"\\u00");
                    out.push(HEX[usize::from(byte >> 4)]);
                    out.push(HEX[usize::from(byte & 15)]);
                }
            }
        }
    }
    if cut {
        out.extend_from_slice(b"...");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::record;
    use super::*;

    fn line(format: fn(&Record<'_>, &mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        format(&record(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_escapes_what_peers_sent() {
        let line = line(json_line);
        assert!(
            line.starts_with("{\"time\":\"2024-11-22T00:00:00.123Z\""),
            "{line}"
        );
        assert!(line.contains(r#""target":"/a?b=\"c\"\u00ff""#), "{line}");
        assert!(line.contains(r#""user_agent":"curl\u000a""#), "{line}");
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn combined_lines_keep_their_columns() {
        let line = line(combined_line);
        assert!(
            line.starts_with("192.0.2.7 - - [22/Nov/2024:00:00:00 +0000] \"GET "),
            "{line}"
        );
        assert_eq!(line.matches('\n').count(), 1);
    }
}
