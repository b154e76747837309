//! The talk with the server.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client};
use tokio::sync::mpsc::Receiver;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::{Answer, Desk, Question, Record, Source};
use crate::backoff::{Backoff, jittered};

/// The session of one source, not yet running.
pub(super) struct Session {
    source: Source,
}

/// What holds for questions that come while there is no connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    /// They wait, each as long as it may: the first connection is being made.
    Wait,
    /// They are answered at once.
    Answer,
}

/// Why the server is away. The text holds no password.
struct Failure(String);

impl Session {
    pub(super) fn new(source: Source) -> Self {
        Self { source }
    }

    /// Answers questions for as long as it is configured.
    pub(super) async fn run(self) {
        let desk = Arc::clone(&self.source.desk);
        let mut asked = desk.asked.lock().await;
        let _absent = Absent(&desk);
        let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
        let mut meanwhile = Meanwhile::Wait;
        let mut is_away = false;
        loop {
            let failure = match self.connect(&mut asked, meanwhile).await {
                Ok(connection) => {
                    desk.counts.answers.store(true, Relaxed);
                    if is_away {
                        info!(redis = &*self.source.name, "consumers are found again");
                    }
                    is_away = false;
                    backoff.reset();
                    self.talk(connection, &mut asked).await
                }
                Err(failure) => failure,
            };
            desk.counts.answers.store(false, Relaxed);
            if !is_away {
                warn!(
                    redis = &*self.source.name,
                    why = failure.0,
                    "consumers are not found: keys that no worker remembers are refused with 503 until the server answers"
                );
            }
            is_away = true;
            meanwhile = Meanwhile::Answer;
            let pause = sleep(jittered(backoff.step()));
            away(pause, &mut asked, &desk).await;
        }
    }

    async fn connect(
        &self,
        asked: &mut Receiver<Question>,
        meanwhile: Meanwhile,
    ) -> Result<MultiplexedConnection, Failure> {
        let url = &self.source.url;
        let patience = self.source.timeout.max(CONNECT_MIN);
        let connect = async {
            let client = Client::open(url.whole()).map_err(|error| self.failed(&error))?;
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(CONNECT_MAX))
                .set_response_timeout(Some(CONNECT_MAX));
            let connect = client.get_multiplexed_async_connection_with_config(&config);
            let connection = timeout(patience, connect).await;
            let connection = connection.map_err(|_| late("connection", patience))?;
            connection.map_err(|error| self.failed(&error))
        };
        match meanwhile {
            Meanwhile::Wait => connect.await,
            Meanwhile::Answer => away(connect, asked, &self.source.desk).await,
        }
    }

    /// Asks what is asked for until that fails.
    async fn talk(
        &self,
        mut connection: MultiplexedConnection,
        asked: &mut Receiver<Question>,
    ) -> Failure {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            let came = timeout(PING_AFTER, asked.recv_many(&mut batch, BATCH_MAX)).await;
            let mut request = redis::cmd(if came.is_ok() { "MGET" } else { "PING" });
            for question in &batch {
                request.arg(self.entry(&question.digest));
            }
            let answered = self.exchange(&mut connection, &request, &mut batch).await;
            if let Err(failure) = answered {
                let failed = &self.source.desk.counts.failed;
                failed.fetch_add(batch.len() as u64, Relaxed);
                batch.drain(..).for_each(|q| (q.answer)(Answer::Away));
                return failure;
            }
        }
    }

    async fn exchange(
        &self,
        connection: &mut MultiplexedConnection,
        request: &redis::Cmd,
        batch: &mut Vec<Question>,
    ) -> Result<(), Failure> {
        let patience = self.source.timeout;
        if batch.is_empty() {
            let answer = timeout(patience, request.query_async::<()>(connection)).await;
            let answer = answer.map_err(|_| late("answer", patience))?;
            return answer.map_err(|error| self.failed(&error));
        }
        let answer = request.query_async::<Vec<Option<Vec<u8>>>>(connection);
        let answer = timeout(patience, answer).await;
        let entries = answer.map_err(|_| late("answer", patience))?;
        let entries = entries.map_err(|error| self.failed(&error))?;
        if entries.len() != batch.len() {
            return Err(Failure("it answered other than was asked".to_owned()));
        }
        for (question, entry) in batch.drain(..).zip(entries) {
            (question.answer)(self.judge(entry.as_deref()));
        }
        Ok(())
    }

    fn judge(&self, entry: Option<&[u8]>) -> Answer {
        let counts = &self.source.desk.counts;
        let (count, answer) = match entry.map(Record::parse) {
            None => (&counts.nobody, Answer::Nobody),
            Some(Some(record)) => (&counts.found, Answer::Consumer(record)),
            Some(None) => (&counts.invalid, Answer::Away),
        };
        if count.fetch_add(1, Relaxed) == 0 && entry.is_some() && matches!(answer, Answer::Away) {
            warn!(
                redis = &*self.source.name,
                prefix = &*self.source.prefix,
                "an entry is no consumer, and its key is refused; further ones are only counted"
            );
        }
        answer
    }

    fn entry(&self, digest: &[u8; 32]) -> String {
        use std::fmt::Write as _;
        let mut name = String::with_capacity(self.source.prefix.len() + 64);
        name.push_str(&self.source.prefix);
        for byte in digest {
            // A string takes everything.
            let _ = write!(name, "{byte:02x}");
        }
        name
    }

    fn failed(&self, error: &redis::RedisError) -> Failure {
        Failure(self.source.url.hide(&error.to_string()))
    }
}

/// Says that nobody answers, when a session ends.
struct Absent<'d>(&'d Desk);

impl Drop for Absent<'_> {
    fn drop(&mut self) {
        self.0.counts.answers.store(false, Relaxed);
    }
}

fn late(what: &str, patience: Duration) -> Failure {
    Failure(format!("no {what} within {patience:?}"))
}

/// Does something while questions are answered with that the server is away.
async fn away<T>(work: impl Future<Output = T>, asked: &mut Receiver<Question>, desk: &Desk) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            // The desk holds a sender, so there is always another question or none yet.
            Some(question) = asked.recv() => {
                desk.counts.failed.fetch_add(1, Relaxed);
                (question.answer)(Answer::Away);
            }
        }
    }
}

/// Questions that are asked at once.
const BATCH_MAX: usize = 256;
/// A server that nobody asks is asked whether it is there.
const PING_AFTER: Duration = Duration::from_secs(1);
/// The first pause before a new attempt to connect, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Looking a name up, TLS and logging in take longer than an answer.
const CONNECT_MIN: Duration = Duration::from_secs(1);
/// The library's own limit, above ours.
const CONNECT_MAX: Duration = Duration::from_secs(60);
