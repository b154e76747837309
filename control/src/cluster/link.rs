//! A connection to a server: it asks, within the time that an answer may take.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, Pipeline, RedisError, Script};
use tokio::time::timeout;

use super::Url;

/// A connection that has answered once.
pub(super) struct Link {
    connection: MultiplexedConnection,
    patience: Duration,
}

/// Why there is no answer. The text holds no password.
#[derive(Debug)]
pub(super) struct Failure(pub(super) String);

impl Link {
    /// Connects, logs in, chooses the database and has the script loaded.
    pub(super) async fn open(
        url: &Url,
        patience: Duration,
        script: &Script,
    ) -> Result<Self, Failure> {
        let client = Client::open(url.whole()).map_err(|error| failed(url, &error))?;
        // One deadline over all of it is ours.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_MAX))
            .set_response_timeout(Some(CONNECT_MAX));
        let connect = async {
            let mut connection = client
                .get_multiplexed_async_connection_with_config(&config)
                .await?;
            script.load_async(&mut connection).await?;
            Ok(connection)
        };
        let patience_to_connect = patience.max(CONNECT_MIN);
        let connection = within(patience_to_connect, "connection", url, connect).await?;
        Ok(Self {
            connection,
            patience,
        })
    }

    /// Asks, and has the script loaded again where the server has forgotten it.
    pub(super) async fn ask<T: FromRedisValue>(
        &mut self,
        url: &Url,
        script: &Script,
        calls: &Pipeline,
    ) -> Result<T, Failure> {
        let connection = &mut self.connection;
        let answer = async {
            match calls.query_async(connection).await {
                // None of the calls has done anything then: all are of this one script.
                Err(error) if error.code() == Some("NOSCRIPT") => {
                    script.load_async(connection).await?;
                    calls.query_async(connection).await
                }
                answer => answer,
            }
        };
        within(self.patience, "answer", url, answer).await
    }
}

async fn within<T>(
    time: Duration,
    what: &str,
    url: &Url,
    work: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, Failure> {
    match timeout(time, work).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(failed(url, &error)),
        Err(_) => Err(Failure(format!("no {what} within {time:?}"))),
    }
}

fn failed(url: &Url, error: &RedisError) -> Failure {
    Failure(url.hide(&error.to_string()))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Looking a name up, TLS and logging in take longer than an answer: a `timeout` that suits
/// answers must not keep a node from ever connecting.
const CONNECT_MIN: Duration = Duration::from_secs(1);
/// The library's own limit, above ours.
const CONNECT_MAX: Duration = Duration::from_secs(60);
