//! Lists of networks in files of their own: one network or address a line.

use std::net::IpAddr;

use crate::leaf;

/// What a file of networks holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NetworkList {
    /// Addresses with prefix lengths, in the order of the file.
    pub networks: Vec<(IpAddr, u8)>,
    /// Lines, counted from 1, that are no networks, and what is wrong with them; at most
    /// [`FAULTS_MAX`].
    pub faults: Vec<(usize, String)>,
}

/// Bad lines of one list that are told.
pub const FAULTS_MAX: usize = 20;

impl NetworkList {
    /// Reads a text. What follows a `#`, and lines that are empty without it, mean nothing.
    #[must_use]
    pub fn parse(text: &str) -> NetworkList {
        let mut list = NetworkList::default();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.split_once('#').map_or(line, |(line, _)| line).trim();
            if line.is_empty() {
                continue;
            }
            match leaf::network(line) {
                Ok(net) => list.networks.push((net.addr(), net.prefix_len())),
                Err(fault) if list.faults.len() < FAULTS_MAX => {
                    let help = fault.help.map(|help| format!(": {help}"));
                    let shown = crate::read::quote(line);
                    let what = format!("{shown} {}{}", fault.label, help.unwrap_or_default());
                    list.faults.push((index + 1, what));
                }
                Err(_) => {}
            }
        }
        list
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_networks_addresses_and_comments() {
        let text = "\u{feff}# offices\r\n10.0.0.0/8\r\n\r\n  192.0.2.7  # a printer\n2001:db8::/32";
        let list = NetworkList::parse(text);
        let net = |addr: &str, len| (addr.parse::<IpAddr>().unwrap(), len);
        let all = [
            net("10.0.0.0", 8),
            net("192.0.2.7", 32),
            net("2001:db8::", 32),
        ];
        assert_eq!(list.networks, all);
        assert!(list.faults.is_empty());
    }

    #[test]
    fn bad_lines_are_told_with_their_numbers() {
        let list = NetworkList::parse("10.0.0.0/8\n10.0.0.1/8\n10.0.0\n");
        let lines: Vec<usize> = list.faults.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 3]);
        assert!(list.faults[0].1.contains("write \"10.0.0.0/8\""));
        let many = NetworkList::parse(&"x\n".repeat(100));
        assert_eq!(many.faults.len(), FAULTS_MAX);
    }
}
