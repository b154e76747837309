//! What the machine gives this process: cores, quota, and the kernel's willingness to rings.

use std::fs;
use std::path::Path;

use ringgate_config::model::{Cores, Driver, Runtime, Workers};
use ringgate_core::rt;

use super::StartError;

/// The data plane's threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// One for each worker: the core it is pinned to, or none.
    pub pins: Vec<Option<usize>>,
    /// Why workers have no cores of their own, when they have none.
    pub unpinned: Option<String>,
}

impl Layout {
    /// As the configuration asks and the machine allows.
    ///
    /// # Errors
    /// When the kernel does not tell the allowed cores, or a listed one is not allowed.
    pub fn of(runtime: &Runtime) -> Result<Layout, StartError> {
        let available = rt::available_cores().map_err(|error| {
            StartError::new(format!("cannot ask for the allowed cores: {error}"))
        })?;
        if let Cores::List(cores) = &runtime.cores.value
            && let Some(core) = cores.iter().find(|core| !available.contains(core))
        {
            return Err(StartError::new(format!(
                "runtime.cores names core {core}, which this process may not use; allowed are {}",
                ranges(&available)
            ))
            .help("correct `cores`, or widen the affinity (taskset, CPUAffinity= of systemd, cpuset of the container)"));
        }
        Ok(layout(runtime, &available, quota()))
    }
}

fn layout(runtime: &Runtime, available: &[usize], quota: Option<usize>) -> Layout {
    let listed = match &runtime.cores.value {
        Cores::List(cores) => Some(&cores[..]),
        Cores::Auto => None,
    };
    let cores = listed.unwrap_or(available);
    let there = cores.len();
    let (workers, unpinned) = match (runtime.workers.value, listed, quota) {
        (Workers::Count(count), _, _) if count.get() > there => {
            let why = format!("runtime.workers is {count} and there are {there} cores");
            (count.get(), Some(why))
        }
        (Workers::Count(count), _, _) => (count.get(), None),
        (Workers::Auto, Some(cores), _) => (cores.len(), None),
        // A quota is time, not places: every container of the machine would be pinned to the
        // same first cores.
        (Workers::Auto, None, Some(quota)) if quota < there => {
            let why =
                format!("the CPU quota of the control group is worth {quota} of {there} cores");
            (quota, Some(why))
        }
        (Workers::Auto, None, _) => (there, None),
    };
    let pin = |worker: usize| match &unpinned {
        None => cores.get(worker).copied(),
        Some(_) => None,
    };
    Layout {
        pins: (0..workers.max(1)).map(pin).collect(),
        unpinned,
    }
}

/// The driver to use, and why it is not the better one.
///
/// # Errors
/// When `io_uring` is asked for by name and the kernel refuses it.
pub fn driver(wanted: Driver) -> Result<(rt::Driver, Option<String>), StartError> {
    match (wanted, rt::probe_io_uring()) {
        (Driver::Epoll, _) => Ok((rt::Driver::Epoll, None)),
        (_, Ok(())) => Ok((rt::Driver::IoUring, None)),
        (Driver::Auto, Err(reason)) => Ok((rt::Driver::Epoll, Some(reason))),
        (Driver::IoUring, Err(reason)) => Err(StartError::new(format!(
            "runtime.driver is \"io_uring\", but {reason}"
        ))
        .help("allow io_uring on this machine, or set driver = \"auto\" to fall back to epoll")),
    }
}

/// Whole cores of the smallest CPU quota of the process's control groups, rounded up; none
/// without a quota. Groups stand at `/sys/fs/cgroup` (v2) or `/sys/fs/cgroup/cpu` (v1), and a
/// container may see its own group as the root.
fn quota() -> Option<usize> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut quotas = Vec::new();
    for group in groups.lines().filter_map(cpu_group) {
        // A group never gets more than those above it.
        for above in Path::new(group).ancestors() {
            let below = |root: &str, file: &str| {
                let path = above.strip_prefix("/").unwrap_or(above);
                fs::read_to_string(Path::new(root).join(path).join(file)).ok()
            };
            let v1 = |file| below("/sys/fs/cgroup/cpu", file);
            quotas.extend(below("/sys/fs/cgroup", "cpu.max"));
            if let (Some(quota), Some(period)) = (v1("cpu.cfs_quota_us"), v1("cpu.cfs_period_us")) {
                quotas.push(format!("{quota} {period}"));
            }
        }
    }
    quotas.iter().filter_map(|text| whole_cores(text)).min()
}

/// The path of a line of cgroups(7) `/proc/pid/cgroup`, if CPU time is counted there.
fn cpu_group(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let counts = controllers.is_empty() || controllers.split(',').any(|name| name == "cpu");
    counts.then_some(path)
}

/// `max 100000` or `150000 100000`: quota and period in microseconds.
fn whole_cores(text: &str) -> Option<usize> {
    let mut words = text.split_whitespace();
    let quota: u64 = words.next()?.parse().ok()?;
    let period: u64 = words.next()?.parse().ok().filter(|period| *period > 0)?;
    usize::try_from(quota.div_ceil(period).max(1)).ok()
}

fn ranges(cores: &[usize]) -> String {
    let mut out: Vec<(usize, usize)> = Vec::new();
    for core in cores {
        match out.last_mut() {
            Some((_, last)) if *last + 1 == *core => *last = *core,
            _ => out.push((*core, *core)),
        }
    }
    let show = |(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    out.iter().map(show).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pins(lines: &str, available: &[usize], quota: Option<usize>) -> Vec<Option<usize>> {
        laid_out(lines, available, quota).pins
    }

    fn laid_out(lines: &str, available: &[usize], quota: Option<usize>) -> Layout {
        let text = format!(
            "[runtime]\n{lines}\n[[listener]]\nname = \"l\"\nlisten = \"127.0.0.1:0\"\n\
             [[route]]\nname = \"r\"\npath = \"/\"\nrespond = {{ status = 204 }}\n"
        );
        let patterns = crate::compile::RouterPatterns;
        let loaded = ringgate_config::load_str("t.toml", &text, &|_| None, &patterns);
        layout(&loaded.config.unwrap().runtime, available, quota)
    }

    #[test]
    fn one_worker_for_each_allowed_core() {
        assert_eq!(pins("", &[2, 5], None), [Some(2), Some(5)]);
        assert_eq!(pins("", &[2, 5], Some(8)), [Some(2), Some(5)]);
    }

    #[test]
    fn a_quota_bounds_the_workers_and_leaves_their_place_to_the_kernel() {
        assert_eq!(pins("", &[0, 1, 2, 3], Some(2)), [None, None]);
    }

    #[test]
    fn a_list_of_cores_is_kept_in_its_order() {
        assert_eq!(
            pins("cores = \"1,0\"", &[0, 1], Some(1)),
            [Some(1), Some(0)]
        );
        assert_eq!(
            pins("workers = 1\ncores = \"1,0\"", &[0, 1], None),
            [Some(1)]
        );
    }

    #[test]
    fn more_workers_than_cores_are_not_pinned() {
        assert_eq!(pins("workers = 3", &[0, 1], None), [None, None, None]);
    }

    #[test]
    fn workers_without_cores_have_a_reason() {
        assert_eq!(laid_out("workers = 2", &[0, 1], None).unpinned, None);
        let why = |lines, quota| laid_out(lines, &[0, 1], quota).unpinned.unwrap();
        assert_eq!(
            why("workers = 3", None),
            "runtime.workers is 3 and there are 2 cores"
        );
        assert!(why("", Some(1)).contains("worth 1 of 2 cores"));
    }

    #[test]
    fn quotas_round_up() {
        assert_eq!(whole_cores("150000 100000\n"), Some(2));
        assert_eq!(whole_cores("max 100000"), None);
        assert_eq!(whole_cores("-1 100000"), None);
        assert_eq!(whole_cores("1000 100000"), Some(1));
    }

    #[test]
    fn groups_are_told_in_both_versions() {
        assert_eq!(
            cpu_group("0::/system.slice/r.service"),
            Some("/system.slice/r.service")
        );
        assert_eq!(cpu_group("4:cpu,cpuacct:/docker/1"), Some("/docker/1"));
        assert_eq!(cpu_group("5:memory:/docker/1"), None);
    }

    #[test]
    fn cores_are_shown_as_ranges() {
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
    }
}
