//! What a line looks like, in either format.

use super::pen::{Pen, TEXT_MAX};
use super::{Record, Said};

/// The longest line: the texts of a record, each at its longest, and what stands around them.
pub(super) const LINE_MAX: usize = 11 * TEXT_MAX + 1024;

/// The second that was written last, as text: most lines share theirs with the one before.
#[derive(Debug, Default)]
pub(super) struct Second {
    unix: u64,
    text: [u8; 26],
}

impl Second {
    #[inline]
    fn at(&mut self, unix: u64, format: fn(u64, &mut Vec<u8>)) -> &[u8; 26] {
        if self.unix != unix || self.text[0] == 0 {
            self.write(unix, format);
        }
        &self.text
    }

    #[cold]
    fn write(&mut self, unix: u64, format: fn(u64, &mut Vec<u8>)) {
        let mut text = Vec::new();
        format(unix * 1000, &mut text);
        for (to, from) in self.text.iter_mut().zip(text) {
            *to = from;
        }
        self.unix = unix;
    }
}

pub(super) fn json_line(record: &Record<'_>, second: &mut Second, pen: &mut Pen<'_>) {
    let second = second.at(record.unix_ms / 1000, crate::wall::rfc3339_millis);
    pen.put(b"{\"time\":\"");
    if let Some(to_seconds) = second.first_chunk::<20>() {
        pen.put(to_seconds);
    }
    pen.put(&millis(record.unix_ms));
    pen.put(b"Z\",\"client\":\"");
    pen.text(record.client);
    if !record.request_id.is_empty() {
        pen.put(b"\",\"id\":\"");
        pen.text(record.request_id);
    }
    pen.put(b"\",\"listener\":\"");
    pen.text(record.listener.as_bytes());
    match record.said {
        Said::Request {
            method,
            host,
            target,
            protocol,
        } => {
            pen.put(b"\",\"method\":\"");
            pen.text(method);
            pen.put(b"\",\"host\":\"");
            pen.text(host);
            pen.put(b"\",\"target\":\"");
            pen.text(target);
            pen.put(b"\",\"protocol\":\"");
            pen.text(protocol.as_bytes());
        }
        Said::Line(line) => {
            pen.put(b"\",\"line\":\"");
            pen.text(line);
        }
    }
    pen.put(b"\",\"status\":");
    pen.number(u64::from(record.status));
    if let Some(route) = record.route {
        pen.put(b",\"route\":\"");
        pen.text(route.as_bytes());
        pen.put(b"\"");
    }
    if let Some(upstream) = record.upstream {
        pen.put(b",\"upstream\":\"");
        pen.text(upstream.as_bytes());
        pen.put(b"\"");
    }
    if let Some(endpoint) = record.endpoint {
        pen.put(b",\"endpoint\":\"");
        pen.text(endpoint.as_bytes());
        pen.put(b"\",\"attempts\":");
        pen.number(u64::from(record.attempts));
    }
    pen.put(b",\"bytes_in\":");
    pen.number(record.received);
    pen.put(b",\"bytes_out\":");
    pen.number(record.sent);
    json_timing(record, pen);
    pen.put(b"},\"end\":\"");
    pen.text(&record.termination);
    if let Some(code) = record.code {
        pen.put(b"\",\"code\":\"");
        pen.text(code.as_bytes());
    }
    if let Some(user_agent) = record.user_agent {
        pen.put(b"\",\"user_agent\":\"");
        pen.text(user_agent);
    }
    if let Some(referer) = record.referer {
        pen.put(b"\",\"referer\":\"");
        pen.text(referer);
    }
    pen.put(b"\"}\n");
}

#[inline]
fn json_timing(record: &Record<'_>, pen: &mut Pen<'_>) {
    pen.put(b",\"us\":{\"total\":");
    pen.number(record.timing.total);
    pen.put(b",\"head\":");
    pen.number(record.timing.head);
    pen.put(b",\"policy\":");
    pen.number(record.timing.policy);
    if let Some(connect) = record.timing.connect {
        pen.put(b",\"connect\":");
        pen.number(connect);
    }
    if let Some(wait) = record.timing.wait {
        pen.put(b",\"wait\":");
        pen.number(wait);
    }
    if let Some(relay) = record.timing.relay {
        pen.put(b",\"relay\":");
        pen.number(relay);
    }
}

/// The three digits of the milliseconds.
fn millis(unix_ms: u64) -> [u8; 3] {
    let millis = (unix_ms % 1000) as u32;
    [millis / 100, millis / 10 % 10, millis % 10].map(|digit| b'0' + digit as u8)
}

pub(super) fn combined_line(record: &Record<'_>, second: &mut Second, pen: &mut Pen<'_>) {
    pen.text(record.client);
    pen.put(b" - - [");
    pen.put(second.at(record.unix_ms / 1000, crate::wall::common_log_time));
    pen.put(b"] \"");
    match record.said {
        Said::Request {
            method,
            target,
            protocol,
            ..
        } => {
            pen.text(method);
            pen.put(b" ");
            pen.text(target);
            pen.put(b" ");
            pen.text(protocol.as_bytes());
        }
        Said::Line(line) => pen.text(line),
    }
    pen.put(b"\" ");
    pen.number(u64::from(record.status));
    pen.put(b" ");
    pen.number(record.sent);
    for field in [record.referer, record.user_agent] {
        pen.put(b" \"");
        pen.text(field.unwrap_or(b"-"));
        pen.put(b"\"");
    }
    pen.put(b" ");
    pen.text(or_dash(record.request_id));
    for name in [record.route, record.upstream, record.endpoint] {
        pen.put(b" ");
        pen.text(name.unwrap_or("-").as_bytes());
    }
    pen.put(b" ");
    pen.number(record.timing.total);
    pen.put(b" ");
    pen.text(&record.termination);
    pen.put(b" ");
    pen.text(record.code.unwrap_or("-").as_bytes());
    pen.put(b"\n");
}

fn or_dash(text: &[u8]) -> &[u8] {
    if text.is_empty() { b"-" } else { text }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Timing;
    use super::super::tests::record;
    use super::*;

    type Format = fn(&Record<'_>, &mut Second, &mut Pen<'_>);

    fn lines<const N: usize>(records: [Record<'_>; N], format: Format) -> String {
        let mut memory = vec![0; N * LINE_MAX];
        let mut pen = Pen::new(&mut memory);
        let mut second = Second::default();
        for record in &records {
            format(record, &mut second, &mut pen);
        }
        let left = pen.left();
        memory.truncate(N * LINE_MAX - left);
        String::from_utf8(memory).unwrap()
    }

    fn line(format: Format) -> String {
        lines([record()], format)
    }

    #[test]
    fn every_line_has_its_own_time() {
        let at = |unix_ms| Record {
            unix_ms,
            ..record()
        };
        let of = [0, 7, 1_732_233_600_999, 1_732_233_601_000];
        let json = lines(of.map(at), json_line);
        let times: Vec<&str> = json.lines().map(|line| &line[9..33]).collect();
        assert_eq!(
            times,
            [
                "1970-01-01T00:00:00.000Z",
                "1970-01-01T00:00:00.007Z",
                "2024-11-22T00:00:00.999Z",
                "2024-11-22T00:00:01.000Z"
            ]
        );
        let combined = lines(of.map(at), combined_line);
        let times: Vec<&str> = combined.lines().map(|line| &line[15..41]).collect();
        assert_eq!(times[1], "01/Jan/1970:00:00:00 +0000");
        assert_eq!(times[3], "22/Nov/2024:00:00:01 +0000");
    }

    #[test]
    fn the_longest_line_fits() {
        let worst = [0; 2000];
        let name = "\u{1}".repeat(2000);
        let name = name.as_str();
        let longest = Record {
            unix_ms: u64::from(u32::MAX) * 1000,
            request_id: &worst,
            client: &worst,
            listener: name,
            said: Said::Request {
                method: &worst,
                host: &worst,
                target: &worst,
                protocol: "HTTP/1.1",
            },
            status: u16::MAX,
            route: Some(name),
            upstream: Some(name),
            endpoint: Some(name),
            attempts: u8::MAX,
            received: u64::MAX,
            sent: u64::MAX,
            timing: Timing {
                total: u64::MAX,
                head: u64::MAX,
                policy: u64::MAX,
                connect: Some(u64::MAX),
                wait: Some(u64::MAX),
                relay: Some(u64::MAX),
            },
            termination: [0, 0],
            code: Some("the_longest_code_that_anybody_would_think_of"),
            referer: Some(&worst),
            user_agent: Some(&worst),
        };
        let line = lines([longest], json_line);
        assert!(line.ends_with("...\"}\n") && line.len() < LINE_MAX);
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
