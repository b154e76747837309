//! What the kernel tells of processes: CPU time of a whole tree, memory, parents.

use std::fs;
use std::ops::Sub;
use std::time::Duration;

use crate::fault::{Fault, Result};

/// A process id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pid(pub u32);

/// CPU time that was spent in user mode and in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuTime {
    /// In user mode.
    pub user: Duration,
    /// In the kernel on the process's behalf.
    pub system: Duration,
}

impl CpuTime {
    /// Of a process with all its threads, those that ended included, and all its descendants,
    /// in whole clock ticks.
    fn of_members(members: &[Member]) -> CpuTime {
        let sum = |part: fn(&Stat) -> u64| ticks(members.iter().map(|m| part(&m.stat)).sum());
        CpuTime {
            user: sum(|stat| stat.user_ticks),
            system: sum(|stat| stat.system_ticks),
        }
    }

    /// User and system time together.
    pub fn total(self) -> Duration {
        self.user + self.system
    }
}

/// What a process tree had used at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    ticks: CpuTime,
    threads: Vec<(ThreadId, Duration)>,
}

impl Usage {
    /// Of a process and all its descendants.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn of_tree(root: Pid) -> Result<Usage> {
        let members = tree(root);
        match members.is_empty() {
            true => Err(gone(root)),
            false => Ok(Usage {
                ticks: CpuTime::of_members(&members),
                threads: threads(root),
            }),
        }
    }

    /// What was used since an earlier moment. The sum is exact to the nanoseconds that the
    /// scheduler counts, unless threads have ended meanwhile; how much of it was in user mode is
    /// known as exactly as clock ticks tell.
    pub fn since(&self, earlier: &Usage) -> CpuTime {
        let ticks = self.ticks - earlier.ticks;
        let ended = earlier
            .threads
            .iter()
            .any(|(id, _)| self.thread(*id).is_none());
        if ended || ticks.total().is_zero() {
            return ticks;
        }
        let sum = |usage: &Usage| {
            usage
                .threads
                .iter()
                .map(|(_, used)| *used)
                .sum::<Duration>()
        };
        let total = sum(self).saturating_sub(sum(earlier));
        let user = total.mul_f64(ticks.user.as_secs_f64() / ticks.total().as_secs_f64());
        CpuTime {
            user,
            system: total.saturating_sub(user),
        }
    }

    /// What each thread has used since an earlier moment.
    pub fn by_thread_since(&self, earlier: &Usage) -> Vec<Duration> {
        let spent = |(id, used): &(ThreadId, Duration)| {
            used.saturating_sub(earlier.thread(*id).unwrap_or_default())
        };
        self.threads.iter().map(spent).collect()
    }

    fn thread(&self, id: ThreadId) -> Option<Duration> {
        let found = self.threads.iter().find(|(other, _)| *other == id);
        found.map(|(_, used)| *used)
    }
}

impl Sub for CpuTime {
    type Output = CpuTime;

    fn sub(self, earlier: CpuTime) -> CpuTime {
        CpuTime {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }
}

/// A process of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub pid: Pid,
    /// What the kernel said of it.
    pub stat: Stat,
}

impl Member {
    /// Whether the id still belongs to the same process, and that has not ended.
    pub fn is_alive(&self) -> bool {
        let same = |stat: Stat| stat.started == self.stat.started && stat.state != 'Z';
        read_stat(self.pid).is_some_and(same)
    }
}

/// A process and its descendants; empty when it is gone.
pub fn tree(root: Pid) -> Vec<Member> {
    let Some(stat) = read_stat(root) else {
        return Vec::new();
    };
    let mut members = vec![Member { pid: root, stat }];
    let everybody: Vec<Member> = everybody();
    let mut next = 0;
    while let Some(parent) = members.get(next).map(|member| member.pid) {
        let children = everybody
            .iter()
            .filter(|member| member.stat.parent == parent);
        members.extend(children.copied());
        next += 1;
    }
    members
}

/// What `/proc/PID/stat` says, as far as it is used here (proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// `Z` is a process that has ended and was not waited for.
    pub state: char,
    /// The parent.
    pub parent: Pid,
    /// User time with that of children that were waited for, in clock ticks.
    pub user_ticks: u64,
    /// The same of the kernel.
    pub system_ticks: u64,
    /// When it started, in ticks since boot: with the id, it names a process for good.
    pub started: u64,
}

impl Stat {
    fn parse(line: &str) -> Option<Stat> {
        // The name, in parentheses, may hold anything, parentheses and blanks included.
        let (_, rest) = line.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // proc_pid_stat(5) counts from 1 and the state is its field 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Stat {
            state: fields.first()?.chars().next()?,
            parent: Pid(u32::try_from(field(4)?).ok()?),
            user_ticks: field(14)? + field(16)?,
            system_ticks: field(15)? + field(17)?,
            started: field(22)?,
        })
    }
}

/// Memory of a process and its descendants in bytes: pages that several processes share count
/// in parts (`Pss`), so that no page counts twice.
///
/// # Errors
/// When the process is gone, or the kernel does not tell: it tells about processes of the same
/// user only.
pub fn memory_of_tree(root: Pid) -> Result<u64> {
    let members = tree(root);
    let sizes = members
        .iter()
        .filter(|member| member.is_alive())
        .map(|member| {
            let file = format!("/proc/{}/smaps_rollup", member.pid.0);
            proportional(&fs::read_to_string(file).unwrap_or_default())
        });
    let sizes: Option<Vec<u64>> = sizes.collect();
    match sizes {
        Some(sizes) if !sizes.is_empty() => Ok(sizes.iter().sum()),
        _ => Err(gone(root)),
    }
}

fn proportional(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let (number, unit) = line.trim().split_once(' ')?;
    let number: u64 = number.parse().ok()?;
    (unit == "kB").then_some(number * 1024)
}

/// CPU time that each thread of a process and of its descendants has used, of those that still
/// run (`/proc/PID/task/TID/schedstat`).
fn threads(root: Pid) -> Vec<(ThreadId, Duration)> {
    let tasks = |member: &Member| {
        let entries = fs::read_dir(format!("/proc/{}/task", member.pid.0));
        entries.into_iter().flatten().flatten()
    };
    let used = tree(root);
    used.iter()
        .flat_map(tasks)
        .filter_map(|task| {
            let id = task.file_name().to_str()?.parse().ok()?;
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
            Some((ThreadId(id), Duration::from_nanos(nanoseconds)))
        })
        .collect()
}

/// The id of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct ThreadId(u32);

fn gone(pid: Pid) -> Fault {
    Fault::Setup(format!("process {} ended while it was measured", pid.0))
}

fn everybody() -> Vec<Member> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid));
    pids.filter_map(|pid| {
        let stat = read_stat(pid)?;
        Some(Member { pid, stat })
    })
    .collect()
}

fn read_stat(pid: Pid) -> Option<Stat> {
    Stat::parse(&fs::read_to_string(format!("/proc/{}/stat", pid.0)).ok()?)
}

fn ticks(count: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_secs_f64(count as f64 / per_second as f64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LINE: &str = "4242 (a) b (c) S 17 4242 4242 0 -1 4194560 900 0 3 0 \
                        250 130 11 7 20 0 5 0 987654 123456789 500 18446744073709551615 1 1 0";

    #[test]
    fn a_name_with_parentheses_and_blanks_does_not_shift_the_fields() {
        assert_eq!(
            Stat::parse(LINE),
            Some(Stat {
                state: 'S',
                parent: Pid(17),
                user_ticks: 261,
                system_ticks: 137,
                started: 987_654,
            })
        );
    }

    #[test]
    fn a_line_cut_short_is_no_stat() {
        assert_eq!(Stat::parse("4242 (a) S 17 4242"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn memory_is_read_in_kibibytes() {
        let text = "55d0-7ffe ---p 00000000 00:00 0 [rollup]\nRss:  9000 kB\nPss:    8192 kB\n";
        assert_eq!(proportional(text), Some(8192 * 1024));
        assert_eq!(proportional(""), None);
    }

    #[test]
    fn the_memory_and_threads_of_this_process_are_known() {
        let own = Pid(std::process::id());
        assert!(memory_of_tree(own).unwrap() > 100_000);
        assert!(!threads(own).is_empty());
    }

    fn usage(user: u64, system: u64, threads: &[(u32, u64)]) -> Usage {
        let nanoseconds = |(id, used): &(u32, u64)| (ThreadId(*id), Duration::from_nanos(*used));
        Usage {
            ticks: CpuTime {
                user: Duration::from_millis(user),
                system: Duration::from_millis(system),
            },
            threads: threads.iter().map(nanoseconds).collect(),
        }
    }

    #[test]
    fn what_was_used_is_exact_and_split_as_the_ticks_say() {
        let before = usage(100, 100, &[(1, 50_000_000), (2, 150_000_000)]);
        let after = usage(
            110,
            130,
            &[(1, 62_000_000), (2, 170_000_000), (3, 4_000_000)],
        );
        let spent = after.since(&before);
        assert_eq!(spent.user, Duration::from_millis(9));
        assert_eq!(spent.system, Duration::from_millis(27));
        let each: Vec<u128> = after
            .by_thread_since(&before)
            .iter()
            .map(Duration::as_millis)
            .collect();
        assert_eq!(each, [12, 20, 4]);
    }

    #[test]
    fn where_a_thread_has_ended_the_ticks_count() {
        let before = usage(100, 100, &[(1, 50_000_000), (2, 150_000_000)]);
        let after = usage(110, 130, &[(1, 62_000_000)]);
        assert_eq!(after.since(&before).total(), Duration::from_millis(40));
    }

    #[test]
    fn a_tree_holds_its_root_and_its_children() {
        let mut child = std::process::Command::new("sleep")
            .arg("30")
            .spawn()
            .unwrap();
        let members = tree(Pid(std::process::id()));
        let found = members.iter().any(|member| member.pid == Pid(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(members[0].pid, Pid(std::process::id()));
        assert!(found);
    }
}
