//! Which cores a process runs on. A child inherits the affinity of the thread that starts it,
//! so that it is in its place from its first instruction.

use std::fmt;
use std::str::FromStr;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::fault::{Fault, Result};

/// At least one core, in rising order, no core twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cores(Vec<usize>);

impl Cores {
    /// These cores; `None` when there are none.
    pub fn new(cores: impl IntoIterator<Item = usize>) -> Option<Cores> {
        let mut cores: Vec<usize> = cores.into_iter().collect();
        cores.sort_unstable();
        cores.dedup();
        (!cores.is_empty()).then_some(Cores(cores))
    }

    /// Those that this process may use.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn allowed() -> Result<Cores> {
        let set = sched_getaffinity(None)
            .map_err(|error| Fault::io("ask for the allowed cores", &error.into()))?;
        let cores = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core));
        Cores::new(cores).ok_or_else(|| Fault::Setup("no core is allowed".to_owned()))
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Their numbers.
    pub fn numbers(&self) -> &[usize] {
        &self.0
    }

    fn set(&self) -> CpuSet {
        let mut set = CpuSet::new();
        self.0.iter().for_each(|core| set.set(*core));
        set
    }

    /// The first half and the rest; both are all of it where there is one only.
    fn halves(&self) -> (Cores, Cores) {
        match self.0.split_at(self.0.len() / 2) {
            ([], _) => (self.clone(), self.clone()),
            (first, second) => (Cores(first.to_vec()), Cores(second.to_vec())),
        }
    }
}

/// `0-3,8`
impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let follows = |a: &usize, b: &usize| a + 1 == *b;
        for (index, run) in self.0.chunk_by(follows).enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match run {
                [only] => write!(f, "{comma}{only}")?,
                [first, .., last] => write!(f, "{comma}{first}-{last}")?,
                [] => {}
            }
        }
        Ok(())
    }
}

impl FromStr for Cores {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Cores, String> {
        let wrong = || format!("{text:?} is not a list of cores such as \"0\" or \"2-5,8\"");
        let number = |text: &str| {
            let core = text.trim().parse::<usize>().map_err(|_| wrong())?;
            (core < CpuSet::MAX_CPU).then_some(core).ok_or_else(wrong)
        };
        let mut cores = Vec::new();
        for part in text.split(',') {
            match part.split_once('-') {
                Some((first, last)) => cores.extend(number(first)?..=number(last)?),
                None => cores.push(number(part)?),
            }
        }
        Cores::new(cores).ok_or_else(wrong)
    }
}

/// Who runs where: the proxy alone, load and origin elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Where the proxies run, one at a time.
    pub proxy: Cores,
    /// Where the load runs.
    pub load: Cores,
    /// Where the origin runs: the load's cores where there are not enough.
    pub origin: Cores,
}

impl Places {
    /// Takes what is asked for; otherwise the first allowed core for the proxy, and all others
    /// for origin and load, half and half.
    ///
    /// # Errors
    /// When this process may not use the cores asked for, they overlap, or there is one core
    /// only.
    pub fn choose(proxy: Option<&Cores>, load: Option<&Cores>) -> Result<Places> {
        Places::among(&Cores::allowed()?, proxy, load)
    }

    fn among(allowed: &Cores, proxy: Option<&Cores>, load: Option<&Cores>) -> Result<Places> {
        for asked in [proxy, load].into_iter().flatten() {
            if let Some(core) = asked.0.iter().find(|core| !allowed.0.contains(core)) {
                return Err(Fault::Setup(format!(
                    "core {core} is not among those that this process may use ({allowed})"
                )));
            }
        }
        let others = |taken: &Cores| {
            let left = allowed.0.iter().filter(|core| !taken.0.contains(core));
            Cores::new(left.copied()).ok_or_else(|| {
                Fault::Setup(
                    "two cores are needed, one for the proxy and one for load and origin; \
                     widen the affinity of this shell (taskset, cpuset of the container)"
                        .to_owned(),
                )
            })
        };
        let (proxy, rest) = match (proxy, load) {
            (Some(proxy), Some(load)) => (proxy.clone(), load.clone()),
            (Some(proxy), None) => (proxy.clone(), others(proxy)?),
            (None, Some(load)) => (Cores(vec![others(load)?.0[0]]), load.clone()),
            (None, None) => {
                let first = Cores(vec![allowed.0[0]]);
                let rest = others(&first)?;
                (first, rest)
            }
        };
        if let Some(core) = proxy.0.iter().find(|core| rest.0.contains(core)) {
            return Err(Fault::Setup(format!(
                "core {core} is given to the proxy and to the load: the load would be \
                 measured too"
            )));
        }
        let (origin, load) = rest.halves();
        Ok(Places {
            proxy,
            load,
            origin,
        })
    }

    /// The cores of load and origin together.
    pub fn others(&self) -> Cores {
        let both = self.load.0.iter().chain(&self.origin.0);
        let both = Cores::new(both.copied());
        both.unwrap_or_else(|| self.load.clone())
    }
}

/// Moves this thread, and whatever it starts from now on, to some cores for good.
///
/// # Errors
/// When the system refuses.
pub fn settle(cores: &Cores) -> Result<()> {
    sched_setaffinity(None, &cores.set())
        .map_err(|error| Fault::io(&format!("pin to core {cores}"), &error.into()))
}

/// Runs `action` with this thread, and whatever it starts, on some cores.
///
/// # Errors
/// When the system refuses, or what `action` fails with.
pub fn on<T>(cores: &Cores, action: impl FnOnce() -> Result<T>) -> Result<T> {
    let refused =
        |error: rustix::io::Errno| Fault::io(&format!("pin to core {cores}"), &error.into());
    let before = sched_getaffinity(None).map_err(refused)?;
    sched_setaffinity(None, &cores.set()).map_err(refused)?;
    let outcome = action();
    sched_setaffinity(None, &before).map_err(refused)?;
    outcome
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn cores(text: &str) -> Cores {
        text.parse().unwrap()
    }

    #[test]
    fn lists_are_read_and_shown_alike() {
        for text in ["0", "2-3", "0-3,8", "1,3,5-6"] {
            assert_eq!(cores(text).to_string(), text);
        }
        assert_eq!(cores("3, 1,2,2").to_string(), "1-3");
        for text in ["", "a", "1-", "3-1", "99999"] {
            assert!(text.parse::<Cores>().is_err(), "{text}");
        }
    }

    #[test]
    fn on_two_cores_load_and_origin_share_one() {
        let places = Places::among(&cores("0-1"), None, None).unwrap();
        assert_eq!(places.proxy, cores("0"));
        assert_eq!((&places.load, &places.origin), (&cores("1"), &cores("1")));
    }

    #[test]
    fn on_more_cores_load_and_origin_have_their_own() {
        let places = Places::among(&cores("0-7"), Some(&cores("0-3")), None).unwrap();
        assert_eq!(places.origin, cores("4-5"));
        assert_eq!(places.load, cores("6-7"));
        assert_eq!(places.others(), cores("4-7"));
    }

    #[test]
    fn the_proxy_takes_a_core_that_the_load_leaves() {
        let places = Places::among(&cores("0-1"), None, Some(&cores("0"))).unwrap();
        assert_eq!(places.proxy, cores("1"));
    }

    #[test]
    fn a_shared_core_is_refused() {
        let shared = Places::among(&cores("0-3"), Some(&cores("0-1")), Some(&cores("1-2")));
        assert!(shared.unwrap_err().to_string().contains("core 1"));
        assert!(Places::among(&cores("0"), None, None).is_err());
        assert!(Places::among(&cores("0-1"), Some(&cores("4")), None).is_err());
    }
}
