//! Threads that compare passwords with hashes, beside the data plane. How much of that may wait
//! is bounded: whoever floods the gateway with passwords makes it refuse further ones, and slows
//! nothing else.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::{Argon2, PasswordVerifier as _};
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use ringgate_control::{Exposition, Kind};
use ringgate_core::errand::Done;
use ringgate_filters::auth::verify::{Checked, Password, Slot, Verifier};

use super::StartError;

/// The threads, and what waits for them. They end with the process.
pub(super) struct Passwords {
    questions: Sender<Question>,
    counts: Arc<Counts>,
}

struct Question {
    hash: Arc<str>,
    password: Password,
    slot: Arc<Slot>,
    /// Dropped with the question, behind the result.
    _done: Done,
}

#[derive(Default)]
struct Counts {
    right: AtomicU64,
    wrong: AtomicU64,
    refused: AtomicU64,
    abandoned: AtomicU64,
}

impl Passwords {
    /// Starts the threads.
    pub(super) fn start() -> Result<Arc<Passwords>, StartError> {
        let (questions, asked) = bounded(WAITING_MAX);
        let counts = Arc::<Counts>::default();
        for number in 0..THREADS {
            let (asked, counts) = (asked.clone(), Arc::clone(&counts));
            std::thread::Builder::new()
                .name(format!("ringgate-pwd-{number}"))
                .spawn(move || work(&asked, &counts))
                .map_err(|error| {
                    StartError::new(format!("cannot start a thread for passwords: {error}"))
                })?;
        }
        Ok(Arc::new(Passwords { questions, counts }))
    }

    pub(super) fn write_metrics(&self, out: &mut Exposition) {
        let counts = &self.counts;
        let all = [
            ("right", &counts.right),
            ("wrong", &counts.wrong),
            ("refused", &counts.refused),
            ("abandoned", &counts.abandoned),
        ];
        if all
            .iter()
            .all(|(_, count)| count.load(Ordering::Relaxed) == 0)
        {
            return;
        }
        out.family(
            "ringgate_password_checks_total",
            Kind::Counter,
            "Passwords that were compared with a hash, that were refused because too many waited, or that nobody waited for any more.",
        );
        for (result, count) in all {
            out.sample(&[("result", result)], count.load(Ordering::Relaxed));
        }
        out.family(
            "ringgate_password_checks_waiting",
            Kind::Gauge,
            "Passwords that wait to be compared.",
        );
        out.sample(&[], self.questions.len() as u64);
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Passwords({} waiting)", self.questions.len())
    }
}

impl Verifier for Passwords {
    fn verify(&self, hash: Arc<str>, password: Password, slot: Arc<Slot>, done: Done) {
        let question = Question {
            hash,
            password,
            slot,
            _done: done,
        };
        let refused = match self.questions.try_send(question) {
            Ok(()) => return,
            Err(TrySendError::Full(question) | TrySendError::Disconnected(question)) => question,
        };
        self.counts.refused.fetch_add(1, Ordering::Relaxed);
        refused.slot.settle(Checked::Refused);
    }
}

fn work(asked: &Receiver<Question>, counts: &Counts) {
    for question in asked {
        // The request that asked, and those that wait with it, hold the slot.
        if Arc::strong_count(&question.slot) == 1 {
            counts.abandoned.fetch_add(1, Ordering::Relaxed);
            // Somebody may have joined just now, who would wait for nothing.
            question.slot.settle(Checked::Refused);
            continue;
        }
        let checked = check(&question.hash, question.password.expose());
        let count = match checked {
            Checked::Right => &counts.right,
            _ => &counts.wrong,
        };
        count.fetch_add(1, Ordering::Relaxed);
        question.slot.settle(checked);
    }
}

/// Compares. What a hash may cost was bounded when it was read.
fn check(hash: &str, password: &[u8]) -> Checked {
    let is_same = match hash.starts_with("$argon2") {
        true => Argon2::default().verify_password(password, hash).is_ok(),
        // Bytes behind the 72nd count for nothing in bcrypt: a longer password never matches,
        // or its rest would be left to anybody.
        false => bcrypt::non_truncating_verify(password, hash).unwrap_or(false),
    };
    match is_same {
        true => Checked::Right,
        false => Checked::Wrong,
    }
}

/// Threads: hashing needs much memory and all of a core, and the data plane wants its own.
const THREADS: usize = 2;
/// Questions that wait at most: some seconds' worth, with hashes that take 50 ms.
const WAITING_MAX: usize = 128;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Of "opensesame", at little cost, made by another implementation.
    const ARGON2: &str = "$argon2id$v=19$m=64,t=1,p=1$8ejUwLqgGm8InId6CAOjiA\
        $tPEaH1IgK7FHOY/sC6vsZ0D6kXkcu+U5MqJ5hkYNGQw";

    #[test]
    fn hashes_of_both_kinds_are_compared() {
        let bcrypt = bcrypt::hash("secret", 4).unwrap();
        let apache = bcrypt.replacen("$2b$", "$2y$", 1);
        for hash in [&bcrypt, &apache] {
            assert_eq!(check(hash, b"secret"), Checked::Right, "{hash}");
            assert_eq!(check(hash, b"secreT"), Checked::Wrong, "{hash}");
        }
        for broken in ["", "$argon2id$", "$2b$04$", "plain"] {
            assert_eq!(check(broken, b"secret"), Checked::Wrong);
        }
        assert_eq!(check(ARGON2, b"opensesame"), Checked::Right);
        assert_eq!(check(ARGON2, b"opensesamf"), Checked::Wrong);
    }

    #[test]
    fn bytes_that_bcrypt_does_not_see_are_not_overlooked() {
        let long = [b'x'; 72];
        let hash = bcrypt::hash(long, 4).unwrap();
        assert_eq!(check(&hash, &[b'x'; 73]), Checked::Wrong);
    }

    #[test]
    fn what_does_not_fit_is_refused_at_once() {
        let (questions, _asked) = bounded(1);
        let passwords = Passwords {
            questions,
            counts: Arc::default(),
        };
        let ask = || {
            let slot = Arc::<Slot>::default();
            let password = Password::new(b"x");
            passwords.verify("$2b$".into(), password, Arc::clone(&slot), Done::unheard());
            slot
        };
        assert_eq!(ask().answer(), None);
        assert_eq!(ask().answer(), Some(&Checked::Refused));
        assert_eq!(passwords.counts.refused.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn nothing_is_compared_that_nobody_waits_for() {
        let (questions, asked) = bounded(2);
        let passwords = Passwords {
            questions,
            counts: Arc::default(),
        };
        let slot = Arc::<Slot>::default();
        let hash: Arc<str> = bcrypt::hash("x", 4).unwrap().into();
        for slot in [Arc::default(), Arc::clone(&slot)] {
            passwords.verify(
                Arc::clone(&hash),
                Password::new(b"x"),
                slot,
                Done::unheard(),
            );
        }
        let counts = Arc::clone(&passwords.counts);
        drop(passwords);
        work(&asked, &counts);
        assert_eq!(counts.abandoned.load(Ordering::Relaxed), 1);
        assert_eq!(slot.answer(), Some(&Checked::Right));
    }
}
