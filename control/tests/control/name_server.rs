//! A name server on a free UDP port, with answers that the test changes as it goes.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

#[derive(Debug, Clone)]
pub enum Reply {
    Addresses(Vec<IpAddr>, u32),
    Code(u8),
    Silence,
}

impl Reply {
    pub const NXDOMAIN: Self = Self::Code(3);
    pub const SERVFAIL: Self = Self::Code(2);

    pub fn addresses(addresses: &[&str], ttl_s: u32) -> Self {
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        Self::Addresses(addresses, ttl_s)
    }
}

pub struct NameServer {
    pub address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

#[derive(Default)]
struct Zone {
    replies: HashMap<String, Reply>,
    asked: HashMap<String, u32>,
}

impl NameServer {
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let zone = Arc::new(Mutex::new(Zone::default()));
        let shared = Arc::clone(&zone);
        // It ends with the test's process.
        std::thread::spawn(move || {
            let mut query = [0; 1_500];
            while let Ok((length, peer)) = socket.recv_from(&mut query) {
                if let Some(answer) = shared.lock().unwrap().answer(&query[..length]) {
                    let _ = socket.send_to(&answer, peer);
                }
            }
        });
        Self { address, zone }
    }

    pub fn set(&self, name: &str, reply: Reply) {
        let mut zone = self.zone.lock().unwrap();
        zone.replies.insert(name.to_owned(), reply);
    }

    /// How many A queries came for `name`.
    pub fn asked(&self, name: &str) -> u32 {
        let zone = self.zone.lock().unwrap();
        zone.asked.get(name).copied().unwrap_or(0)
    }
}

impl Zone {
    /// RFC 1035 section 4: header, the question again, and one record per address.
    fn answer(&mut self, query: &[u8]) -> Option<Vec<u8>> {
        let mut at = 12;
        let mut labels = Vec::new();
        while query[at] != 0 {
            let length = usize::from(query[at]);
            labels.push(String::from_utf8_lossy(&query[at + 1..=at + length]).into_owned());
            at += 1 + length;
        }
        let question = &query[12..at + 5];
        let is_a = query[at + 2] == 1;
        let name = labels.join(".").to_ascii_lowercase();
        if is_a {
            *self.asked.entry(name.clone()).or_default() += 1;
        }
        let (code, addresses, ttl) = match self.replies.get(&name) {
            None => (3, vec![], 0),
            Some(Reply::Silence) => return None,
            Some(Reply::Code(code)) => (*code, vec![], 0),
            Some(Reply::Addresses(all, ttl)) => {
                let wanted = all.iter().filter(|a| a.is_ipv4() == is_a).copied();
                (0, wanted.collect::<Vec<_>>(), *ttl)
            }
        };
        let mut answer = query[..2].to_vec();
        answer.extend([
            0x81,
            0x80 | code,
            0,
            1,
            0,
            addresses.len() as u8,
            0,
            0,
            0,
            0,
        ]);
        answer.extend(question);
        for address in addresses {
            let (kind, data) = match address {
                IpAddr::V4(address) => (1, address.octets().to_vec()),
                IpAddr::V6(address) => (28, address.octets().to_vec()),
            };
            answer.extend([0xc0, 12, 0, kind, 0, 1]);
            answer.extend(ttl.to_be_bytes());
            answer.extend([0, data.len() as u8]);
            answer.extend(data);
        }
        Some(answer)
    }
}
