//! What a query asks of the origin. Names that it does not know belong to somebody else and are
//! passed over; a value that is wrong is an error.

use std::time::Duration;

use super::dice::Dice;

/// What is to be answered, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The status.
    pub status: u16,
    /// Body bytes; `None` for the small constant.
    pub size: Option<u64>,
    /// The size of a chunk; `None` for a declared length.
    pub piece: Option<usize>,
    /// How long to wait before anything is sent.
    pub delay: Delay,
    /// Whether some requests fail.
    pub failing: Option<Failing>,
    /// What becomes of the connection.
    pub closing: Closing,
    /// How long the whole thread stands still first.
    pub stall: Duration,
}

/// A share of requests that fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Failing {
    /// From 0 to 1.
    pub ratio: f64,
    /// Their status.
    pub status: u16,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// It stays, if the client likes.
    Never,
    /// It is closed behind the response, which says so.
    After,
    /// It is closed without a response.
    Before,
    /// It is closed in the middle of the response's body.
    Mid,
    /// It is reset without a response.
    Reset,
}

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Delay {
    /// Not at all.
    None,
    /// Always that long.
    Fixed(Duration),
    /// Between these, all alike likely.
    Uniform(Duration, Duration),
    /// Exponentially distributed with this mean.
    Exponential(Duration),
    /// Normally distributed with this mean and standard deviation, never less than zero.
    Normal(Duration, Duration),
}

impl Delay {
    /// The next one.
    pub fn sample(self, dice: &Dice) -> Duration {
        let spread = |seconds: f64| Duration::from_secs_f64(seconds.clamp(0.0, DELAY_MAX_S));
        match self {
            Delay::None => Duration::ZERO,
            Delay::Fixed(span) => span,
            Delay::Uniform(least, most) => least + (most - least).mul_f64(dice.unit()),
            Delay::Exponential(mean) => spread(-(1.0 - dice.unit()).ln() * mean.as_secs_f64()),
            Delay::Normal(mean, deviation) => {
                // Box and Muller 1958.
                let radius = (-2.0 * (1.0 - dice.unit()).ln()).sqrt();
                let normal = radius * (std::f64::consts::TAU * dice.unit()).cos();
                spread(mean.as_secs_f64() + normal * deviation.as_secs_f64())
            }
        }
    }
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            status: 200,
            size: None,
            piece: None,
            delay: Delay::None,
            failing: None,
            closing: Closing::Never,
            stall: Duration::ZERO,
        }
    }
}

impl Plan {
    /// Reads a query, without its `?`.
    ///
    /// # Errors
    /// A sentence that says which value is wrong.
    pub fn parse(query: &[u8]) -> Result<Plan, String> {
        let mut plan = Plan::default();
        let mut error_status = None;
        for pair in query.split(|byte| *byte == b'&') {
            let Some(at) = pair.iter().position(|byte| *byte == b'=') else {
                continue;
            };
            let value = decoded(&pair[at + 1..]);
            let value = value.as_str();
            match &pair[..at] {
                b"size" => plan.size = Some(size(value)?),
                b"status" => plan.status = status(value)?,
                b"chunked" => plan.piece = Some(piece(value)?),
                b"delay" => plan.delay = delay(value)?,
                b"error" => {
                    let ratio = ratio(value)?;
                    plan.failing = Some(Failing { ratio, status: 503 });
                }
                b"error_status" => error_status = Some(status(value)?),
                b"close" => plan.closing = closing(value)?,
                b"stall" => plan.stall = span(value)?,
                _ => {}
            }
        }
        if let (Some(failing), Some(status)) = (&mut plan.failing, error_status) {
            failing.status = status;
        }
        Ok(plan)
    }
}

fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    let count = digits.bytes().all(|byte| byte.is_ascii_digit());
    let count = count.then(|| digits.parse::<u64>().ok()).flatten();
    count
        .and_then(|count| count.checked_mul(unit))
        .filter(|size| *size <= SIZE_MAX)
        .ok_or_else(|| {
            format!("size {text}: a number of bytes up to 64 GiB, as in 1024, 64k or 1m")
        })
}

fn piece(text: &str) -> Result<usize, String> {
    let wrong = || format!("chunked={text}: a size of chunks from 1 to 256k");
    let size = size(text).map_err(|_| wrong())?;
    let size = usize::try_from(size).map_err(|_| wrong())?;
    match (1..=PIECE_MAX).contains(&size) {
        true => Ok(size),
        false => Err(wrong()),
    }
}

fn status(text: &str) -> Result<u16, String> {
    let status = text.parse().ok();
    status
        .filter(|status| (200..=599).contains(status))
        .ok_or_else(|| format!("status {text}: a number from 200 to 599"))
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok();
    ratio
        .filter(|ratio| (0.0..=1.0).contains(ratio))
        .ok_or_else(|| format!("error={text}: a share from 0 to 1"))
}

fn closing(text: &str) -> Result<Closing, String> {
    match text {
        "after" => Ok(Closing::After),
        "before" => Ok(Closing::Before),
        "mid" => Ok(Closing::Mid),
        "reset" => Ok(Closing::Reset),
        _ => Err(format!("close={text}: after, before, mid or reset")),
    }
}

fn delay(text: &str) -> Result<Delay, String> {
    let wrong = || format!("delay={text}: fixed:5ms, uniform:1ms..9ms, exp:5ms or normal:5ms,1ms");
    let (kind, value) = text.split_once(':').ok_or_else(wrong)?;
    match kind {
        "fixed" => Ok(Delay::Fixed(span(value)?)),
        "exp" => Ok(Delay::Exponential(span(value)?)),
        "uniform" => {
            let (least, most) = value.split_once("..").ok_or_else(wrong)?;
            match (span(least)?, span(most)?) {
                (least, most) if least <= most => Ok(Delay::Uniform(least, most)),
                _ => Err(wrong()),
            }
        }
        "normal" => {
            let (mean, deviation) = value.split_once(',').ok_or_else(wrong)?;
            Ok(Delay::Normal(span(mean)?, span(deviation)?))
        }
        _ => Err(wrong()),
    }
}

fn span(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(unit_at.unwrap_or(text.len()));
    let unit = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => 0.0,
    };
    let seconds = number.parse::<f64>().unwrap_or(-1.0) * unit;
    match unit > 0.0 && (0.0..=DELAY_MAX_S).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err(format!(
            "`{text}` is no span of time up to an hour, as in 100us, 5ms or 1.5s"
        )),
    }
}

/// Undoes percent-encoding; what is no UTF-8 then will be no value either.
fn decoded(value: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [first, behind @ ..] = rest {
        let digit = |at: usize| char::from(*behind.get(at)?).to_digit(16);
        rest = behind;
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &behind[2..];
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The longest body: more than a test will wait for.
const SIZE_MAX: u64 = 64 << 30;

/// The longest chunk: what one block of body holds.
pub const PIECE_MAX: usize = 256 << 10;

/// The longest delay, in seconds.
const DELAY_MAX_S: f64 = 3600.0;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn plan(query: &str) -> Plan {
        Plan::parse(query.as_bytes()).unwrap()
    }

    #[test]
    fn nothing_asked_is_the_small_constant() {
        for query in ["", "&&", "a", "q=ada&page=2", "=5", "Size=1"] {
            assert_eq!(plan(query), Plan::default(), "{query}");
        }
    }

    #[test]
    fn each_parameter_has_its_place() {
        let all = plan(
            "size=64k&status=404&chunked=4k&delay=fixed:5ms&error=0.25&error_status=500\
             &close=mid&stall=1.5s",
        );
        let expected = Plan {
            status: 404,
            size: Some(65536),
            piece: Some(4096),
            delay: Delay::Fixed(Duration::from_millis(5)),
            failing: Some(Failing {
                ratio: 0.25,
                status: 500,
            }),
            closing: Closing::Mid,
            stall: Duration::from_millis(1500),
        };
        assert_eq!(all, expected);
    }

    #[test]
    fn the_status_of_errors_may_come_first() {
        let failing = plan("error_status=500&error=1").failing.unwrap();
        assert_eq!((failing.ratio, failing.status), (1.0, 500));
        assert_eq!(plan("error=0").failing.unwrap().status, 503);
    }

    #[test]
    fn delays() {
        let ms = Duration::from_millis;
        assert_eq!(
            plan("delay=uniform:1ms..9ms").delay,
            Delay::Uniform(ms(1), ms(9))
        );
        assert_eq!(plan("delay=exp:5ms").delay, Delay::Exponential(ms(5)));
        assert_eq!(
            plan("delay=normal%3a5ms%2C1ms").delay,
            Delay::Normal(ms(5), ms(1))
        );
        assert_eq!(
            plan("delay=fixed:250us").delay,
            Delay::Fixed(Duration::from_micros(250))
        );
    }

    #[test]
    fn wrong_values_are_named() {
        for wrong in [
            "size=",
            "size=-1",
            "size=1g",
            "size=+1",
            "size=99999999999999999999",
            "status=99",
            "status=600",
            "chunked=0",
            "chunked=1m",
            "delay=5ms",
            "delay=fixed:5",
            "delay=fixed:ms",
            "delay=uniform:9ms..1ms",
            "delay=uniform:9ms",
            "delay=normal:5ms",
            "delay=often:5ms",
            "delay=fixed:2000h",
            "delay=fixed:3601s",
            "error=2",
            "error=-0.1",
            "error=NaN",
            "close=now",
            "stall=soon",
            "size=%ff",
        ] {
            let sentence = Plan::parse(wrong.as_bytes()).unwrap_err();
            assert!(
                sentence.contains(':') || sentence.contains('`'),
                "{sentence}"
            );
        }
    }

    #[test]
    fn distributions_have_their_means() {
        let dice = Dice::new(1);
        let mean_ms = |query: &str| {
            let delay = plan(query).delay;
            let total: Duration = (0..10_000).map(|_| delay.sample(&dice)).sum();
            total.as_secs_f64() * 1000.0 / 10_000.0
        };
        for query in [
            "delay=fixed:5ms",
            "delay=uniform:1ms..9ms",
            "delay=exp:5ms",
            "delay=normal:5ms,1ms",
        ] {
            let mean = mean_ms(query);
            assert!((4.8..5.2).contains(&mean), "{query}: {mean}");
        }
    }
}
