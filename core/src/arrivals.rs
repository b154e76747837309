//! What all cores know of the connections of a listener: how many are open, and by address how
//! many and how fast they come. Kept over reloads by the listener's name; off the request path,
//! as it moves only when a connection opens or closes.

use std::net::IpAddr;
use std::sync::OnceLock;

use crate::counts::{self, Counts, Rate, RateSpec, Rates};
use crate::rt::clock::Moment;
use crate::stats::SharedCount;

/// Bounds of a listener's connections beside their number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// Open from one address, an IPv6 address by its first 64 bits; zero for no bound.
    pub per_address_max: u32,
    /// Opened, from all addresses together.
    pub rate: Option<RateSpec>,
    /// Opened, from one address.
    pub rate_per_address: Option<RateSpec>,
}

impl Caps {
    /// Whether addresses are told apart.
    pub fn by_address(&self) -> bool {
        self.per_address_max > 0 || self.rate_per_address.is_some()
    }
}

/// The connections of a listener.
#[derive(Debug, Default)]
pub struct Arrivals {
    open: SharedCount,
    rate: Rate,
    /// Made when an address first matters.
    by_address: OnceLock<ByAddress>,
}

#[derive(Debug)]
struct ByAddress {
    hasher: ahash::RandomState,
    open: Counts,
    rates: Rates,
}

/// Addresses with connections, or with buckets that are not full, that have counts of their own:
/// five megabytes.
const ADDRESSES_MAX: usize = 100_000;

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// The listener's connections come too fast.
    Rate,
    /// The address has its most connections.
    PerAddress,
    /// The address opens connections too fast.
    RatePerAddress,
}

impl Excess {
    /// The bound, as the configuration names it.
    pub const fn name(self) -> &'static str {
        match self {
            Excess::Rate => "connection_rate",
            Excess::PerAddress => "connections_per_address_max",
            Excess::RatePerAddress => "connection_rate_per_address",
        }
    }
}

/// A place among the connections of an address; it has to be given back.
#[derive(Debug)]
#[must_use]
pub(crate) struct AddressPlace(counts::Place);

impl Arrivals {
    /// Takes a place unless `max` are taken.
    pub fn try_take(&self, max: u32) -> bool {
        self.open.try_take(max)
    }

    /// Gives a place back.
    pub fn give_back(&self) {
        self.open.give_back();
    }

    /// Connections open.
    pub fn value(&self) -> u32 {
        self.open.value()
    }

    /// Gets the memory for what is known of addresses. For the control plane: workers would do
    /// it at the first connection, at the cost of some milliseconds.
    pub fn tell_addresses_apart(&self) {
        let _ = self.by_address();
    }

    fn by_address(&self) -> &ByAddress {
        self.by_address.get_or_init(|| ByAddress {
            hasher: ahash::RandomState::new(),
            open: Counts::new(ADDRESSES_MAX),
            rates: Rates::new(ADDRESSES_MAX),
        })
    }

    /// One more connection, from whomever.
    ///
    /// # Errors
    /// When they come too fast.
    pub(crate) fn arrive(&self, caps: &Caps, now: Moment) -> Result<(), Excess> {
        match caps.rate {
            Some(rate) if !self.rate.try_take(rate, now) => Err(Excess::Rate),
            _ => Ok(()),
        }
    }

    /// One more connection from an address. Without a bound there is no place to give back.
    ///
    /// # Errors
    /// When the address has its most, or opens them too fast.
    pub(crate) fn arrive_from(
        &self,
        address: IpAddr,
        caps: &Caps,
        now: Moment,
    ) -> Result<Option<AddressPlace>, Excess> {
        if !caps.by_address() {
            return Ok(None);
        }
        let known = self.by_address();
        let hash = known.hasher.hash_one(counted_as(address));
        if let Some(rate) = caps.rate_per_address
            && !known.rates.try_take(hash, rate, now)
        {
            return Err(Excess::RatePerAddress);
        }
        match caps.per_address_max {
            0 => Ok(None),
            max => match known.open.try_enter(hash, max) {
                Some(place) => Ok(Some(AddressPlace(place))),
                None => Err(Excess::PerAddress),
            },
        }
    }

    /// A connection from an address has ended.
    pub(crate) fn leave(&self, AddressPlace(place): AddressPlace) {
        self.by_address().open.leave(place);
    }
}

/// What an address counts as: one network of IPv6 has more addresses than anybody could bound one
/// by one (RFC 4291, 2.5.4).
fn counted_as(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64 | V6,
    }
}

/// Addresses of IPv6 in use begin with 001 or 1111: with this bit none is one of IPv4.
const V6: u64 = 1 << 63;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn from(arrivals: &Arrivals, text: &str, caps: &Caps) -> Result<Option<AddressPlace>, Excess> {
        arrivals.arrive_from(text.parse().unwrap(), caps, Moment(1 << 40))
    }

    #[test]
    fn an_address_has_its_connections_and_gets_them_back() {
        let arrivals = Arrivals::default();
        let caps = Caps {
            per_address_max: 1,
            ..Caps::default()
        };
        let place = from(&arrivals, "192.0.2.1", &caps).unwrap().unwrap();
        let again = from(&arrivals, "::ffff:192.0.2.1", &caps);
        assert_eq!(again.unwrap_err(), Excess::PerAddress);
        assert!(from(&arrivals, "192.0.2.2", &caps).is_ok());
        arrivals.leave(place);
        assert!(from(&arrivals, "192.0.2.1", &caps).is_ok());
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let arrivals = Arrivals::default();
        let caps = Caps {
            per_address_max: 1,
            ..Caps::default()
        };
        assert!(from(&arrivals, "2001:db8::1", &caps).is_ok());
        assert!(from(&arrivals, "2001:db8::ffff:0:1", &caps).is_err());
        assert!(from(&arrivals, "2001:db8:0:1::1", &caps).is_ok());
    }

    #[test]
    fn rates_hold_for_an_address_and_for_all() {
        let rate = |burst| Some(RateSpec::new(1, Duration::from_secs(1), burst));
        let arrivals = Arrivals::default();
        let caps = Caps {
            rate: rate(3),
            rate_per_address: rate(2),
            ..Caps::default()
        };
        let now = Moment(1 << 40);
        for _ in 0..2 {
            assert!(from(&arrivals, "192.0.2.1", &caps).is_ok());
        }
        let third = from(&arrivals, "192.0.2.1", &caps);
        assert_eq!(third.unwrap_err(), Excess::RatePerAddress);
        assert!(from(&arrivals, "192.0.2.2", &caps).is_ok());
        let all: Vec<_> = (0..4).map(|_| arrivals.arrive(&caps, now)).collect();
        assert_eq!(all, [Ok(()), Ok(()), Ok(()), Err(Excess::Rate)]);
    }

    #[test]
    fn without_bounds_nothing_is_kept() {
        let arrivals = Arrivals::default();
        let caps = Caps::default();
        assert!(from(&arrivals, "192.0.2.1", &caps).unwrap().is_none());
        assert!(arrivals.by_address.get().is_none());
    }
}
