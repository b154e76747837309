//! Who listens on a port: for the one error message that everybody meets.

use std::fs;
use std::net::SocketAddr;

/// The name and process id of whoever listens on the address's port, as far as this process
/// may know.
pub fn of(address: SocketAddr) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .find_map(|table| listening_inode(&fs::read_to_string(table).ok()?, address.port()))?;
    let socket = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let pid = process.file_name();
        let Some(pid) = pid.to_str().filter(|pid| pid.parse::<u32>().is_ok()) else {
            continue;
        };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let holds = descriptors.flatten().any(|descriptor| {
            fs::read_link(descriptor.path()).is_ok_and(|link| link.to_str() == Some(&socket))
        });
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {pid})", name.trim()));
        }
    }
    None
}

/// The inode of a listening socket on `port` in the format of proc_net_tcp(5).
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let (_, local_port) = columns.next()?.rsplit_once(':')?;
        let state = columns.nth(1)?;
        let matches = u16::from_str_radix(local_port, 16) == Ok(port) && state == LISTEN;
        matches.then(|| columns.nth(5)?.parse().ok()).flatten()
    })
}

/// TCP_LISTEN in net/tcp_states.h, as the table prints it.
const LISTEN: &str = "0A";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    #[test]
    fn finds_a_listener_of_our_own() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = super::of(listener.local_addr().unwrap()).unwrap();
        let pid = std::process::id();
        assert!(found.ends_with(&format!("(process {pid})")), "{found}");
    }

    #[test]
    fn takes_listening_sockets_only() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
             0: 0100007F:1F90 0100007F:0050 01 00000000:00000000 00:00000000 00000000     0        0 11 1\n   \
             1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 22 1\n";
        assert_eq!(super::listening_inode(table, 8080), Some(22));
        assert_eq!(super::listening_inode(table, 8081), None);
    }
}
