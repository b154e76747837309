//! What a line looks like, in either format.

use super::pen::{Pen, TEXT_MAX};
use super::{DRY_RUN_MAX, Record, Said};
use crate::http::Version;

/// The longest line: the texts of a record, each at its longest, and what stands around them.
pub(super) const LINE_MAX: usize = (13 + DRY_RUN_MAX) * TEXT_MAX + 1024;

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

pub(super) fn json_line<'a>(record: &Record<'_>, second: &mut Second, pen: Pen<'a>) -> Pen<'a> {
    let [to_seconds @ .., _, _, _, _, _, _] =
        second.at(record.unix_ms / 1000, crate::wall::rfc3339_millis);
    let mut pen = pen
        .put(b"{\"time\":\"")
        .put::<20>(to_seconds)
        .put(&millis(record.unix_ms))
        .put(b"Z\",\"client\":\"")
        .plain(record.client);
    if !record.request_id.is_empty() {
        pen = pen.put(b"\",\"id\":\"").plain(record.request_id);
    }
    pen = pen
        .put(b"\",\"listener\":\"")
        .text(record.listener.as_bytes());
    pen = json_said(record.said, pen).number(u64::from(record.status));
    if let Some(scheme) = record.scheme {
        pen = pen.put(b",\"auth\":\"").text(scheme.as_bytes()).put(b"\"");
    }
    if let Some(consumer) = record.consumer {
        pen = pen
            .put(b",\"consumer\":\"")
            .text(consumer.as_bytes())
            .put(b"\"");
    }
    if let Some(route) = record.route {
        pen = pen.put(b",\"route\":\"").text(route.as_bytes()).put(b"\"");
    }
    if let Some(upstream) = record.upstream {
        pen = pen
            .put(b",\"upstream\":\"")
            .text(upstream.as_bytes())
            .put(b"\"");
    }
    if let Some(endpoint) = record.endpoint {
        pen = pen
            .put(b",\"endpoint\":\"")
            .text(endpoint.as_bytes())
            .put(b"\",\"attempts\":")
            .number(u64::from(record.attempts));
    }
    pen = pen
        .put(b",\"bytes_in\":")
        .number(record.received)
        .put(b",\"bytes_out\":")
        .number(record.sent);
    pen = json_dry_run(record, json_timing(record, pen))
        .put(b",\"end\":\"")
        .put(&record.termination);
    if let Some(code) = record.code {
        pen = pen.put(b"\",\"code\":\"").text(code.as_bytes());
    }
    if let Some(upstream) = record.fallback_for {
        pen = pen.put(b"\",\"fallback_for\":\"").text(upstream.as_bytes());
    }
    if let Some(user_agent) = record.user_agent {
        pen = pen.put(b"\",\"user_agent\":\"").text(user_agent);
    }
    if let Some(referer) = record.referer {
        pen = pen.put(b"\",\"referer\":\"").text(referer);
    }
    pen.put(b"\"}\n")
}

/// What was asked for, up to the status that stands behind it.
#[inline]
fn json_said<'a>(said: Said<'_>, pen: Pen<'a>) -> Pen<'a> {
    match said {
        Said::Request {
            method,
            host,
            target,
            version,
        } => {
            let pen = pen
                .put(b"\",\"method\":\"")
                .text(method)
                .put(b"\",\"host\":\"")
                .text(host)
                .put(b"\",\"target\":\"")
                .text(target);
            match version {
                Version::Http10 => pen.put(b"\",\"protocol\":\"HTTP/1.0\",\"status\":"),
                Version::Http11 => pen.put(b"\",\"protocol\":\"HTTP/1.1\",\"status\":"),
                Version::Http2 => pen.put(b"\",\"protocol\":\"HTTP/2.0\",\"status\":"),
            }
        }
        Said::Line(line) => pen.put(b"\",\"line\":\"").text(line).put(b"\",\"status\":"),
    }
}

#[inline]
fn json_timing<'a>(record: &Record<'_>, pen: Pen<'a>) -> Pen<'a> {
    let mut pen = pen
        .put(b",\"us\":{\"total\":")
        .number(record.timing.total)
        .put(b",\"head\":")
        .number(record.timing.head)
        .put(b",\"policy\":")
        .number(record.timing.policy);
    if let Some(connect) = record.timing.connect {
        pen = pen.put(b",\"connect\":").number(connect);
    }
    if let Some(wait) = record.timing.wait {
        pen = pen.put(b",\"wait\":").number(wait);
    }
    if let Some(relay) = record.timing.relay {
        pen = pen.put(b",\"relay\":").number(relay);
    }
    pen.put(b"}")
}

#[inline]
fn json_dry_run<'a>(record: &Record<'_>, mut pen: Pen<'a>) -> Pen<'a> {
    let mut names = record.dry_run.iter().flatten();
    let Some(first) = names.next() else {
        return pen;
    };
    pen = pen.put(b",\"dry_run\":[\"").text(first.as_bytes());
    for name in names {
        pen = pen.put(b"\",\"").text(name.as_bytes());
    }
    pen.put(b"\"]")
}

/// The three digits of the milliseconds.
fn millis(unix_ms: u64) -> [u8; 3] {
    let millis = (unix_ms % 1000) as u32;
    [millis / 100, millis / 10 % 10, millis % 10].map(|digit| b'0' + digit as u8)
}

pub(super) fn combined_line<'a>(record: &Record<'_>, second: &mut Second, pen: Pen<'a>) -> Pen<'a> {
    let mut pen = pen
        .plain(record.client)
        .put(b" - ")
        .text(record.consumer.unwrap_or("-").as_bytes())
        .put(b" [")
        .put(second.at(record.unix_ms / 1000, crate::wall::common_log_time))
        .put(b"] \"");
    pen = match record.said {
        Said::Request {
            method,
            target,
            version,
            ..
        } => pen
            .text(method)
            .put(b" ")
            .text(target)
            .put(b" ")
            .text(version.name().as_bytes()),
        Said::Line(line) => pen.text(line),
    };
    pen = pen
        .put(b"\" ")
        .number(u64::from(record.status))
        .put(b" ")
        .number(record.sent);
    for field in [record.referer, record.user_agent] {
        pen = pen.put(b" \"").text(field.unwrap_or(b"-")).put(b"\"");
    }
    pen = pen.put(b" ");
    pen = match record.request_id.is_empty() {
        true => pen.put(b"-"),
        false => pen.plain(record.request_id),
    };
    for name in [record.route, record.upstream, record.endpoint] {
        pen = pen.put(b" ").text(name.unwrap_or("-").as_bytes());
    }
    pen = pen
        .put(b" ")
        .number(record.timing.total)
        .put(b" ")
        .put(&record.termination)
        .put(b" ")
        .text(record.code.unwrap_or("-").as_bytes())
        .put(b" ")
        .text(record.fallback_for.unwrap_or("-").as_bytes())
        .put(b" ");
    let mut names = record.dry_run.iter().flatten();
    pen = pen.text(names.next().unwrap_or(&"-").as_bytes());
    for name in names {
        pen = pen.put(b",").text(name.as_bytes());
    }
    pen.put(b"\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::record;
    use super::super::{Plain, Timing};
    use super::*;
    use crate::http::limits::FOREIGN_ID_MAX;

    type Format = for<'a> fn(&Record<'_>, &mut Second, Pen<'a>) -> Pen<'a>;

    fn lines<const N: usize>(records: [Record<'_>; N], format: Format) -> String {
        let mut memory = vec![0; N * LINE_MAX];
        let mut pen = Pen::new(&mut memory);
        let mut second = Second::default();
        for record in &records {
            pen = format(record, &mut second, pen);
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
        let times: Vec<&str> = combined.lines().map(|line| &line[17..43]).collect();
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
            request_id: Plain::known(&[b'7'; FOREIGN_ID_MAX]),
            client: Plain::known(b"2001:db8:2001:db8:2001:db8:2001:db8"),
            listener: name,
            said: Said::Request {
                method: &worst,
                host: &worst,
                target: &worst,
                version: Version::Http11,
            },
            consumer: Some(name),
            scheme: Some("introspection"),
            status: u16::MAX,
            route: Some(name),
            upstream: Some(name),
            fallback_for: Some(name),
            dry_run: [Some(name); DRY_RUN_MAX],
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
            termination: *b"CR",
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
    fn what_policies_did_without_refusing_has_its_place() {
        let mut noted = record();
        noted.fallback_for = Some("users");
        noted.dry_run[..2].copy_from_slice(&[Some("a"), Some("b")]);
        let json = lines([noted], json_line);
        assert!(
            json.contains(r#"},"dry_run":["a","b"],"end":"--","#),
            "{json}"
        );
        assert!(json.contains(r#","fallback_for":"users","#), "{json}");
        let mut noted = record();
        noted.dry_run[..2].copy_from_slice(&[Some("a"), Some("b")]);
        let text = lines([noted], combined_line);
        assert!(text.ends_with(" -- - - a,b\n"), "{text}");
    }

    #[test]
    fn combined_lines_keep_their_columns() {
        let line = line(combined_line);
        assert!(
            line.starts_with("192.0.2.7 - app [22/Nov/2024:00:00:00 +0000] \"GET "),
            "{line}"
        );
        assert_eq!(line.matches('\n').count(), 1);
    }
}
