//! From values to places on an axis, and the marks on it.

/// An axis of values above zero on which equal ratios are equally far apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogAxis {
    low: f64,
    high: f64,
}

impl LogAxis {
    /// Holds all values that are above zero; some range when there are none.
    pub fn holding(values: impl IntoIterator<Item = f64>) -> LogAxis {
        let usable = values
            .into_iter()
            .filter(|value| value.is_finite() && *value > 0.0);
        let (low, high) = usable.fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        if high <= 0.0 {
            return LogAxis {
                low: 1.0,
                high: 10.0,
            };
        }
        // Some air, and never a range of nothing.
        LogAxis {
            low: low / 1.15,
            high: high * 1.15,
        }
    }

    /// 0 at the low end, 1 at the high end; what is beyond is at the end.
    pub fn place(self, value: f64) -> f64 {
        let place = (value.max(f64::MIN_POSITIVE) / self.low).ln() / (self.high / self.low).ln();
        place.clamp(0.0, 1.0)
    }

    /// Round values on the axis: 1, 2 and 5 times powers of ten, or powers of ten alone when
    /// those would be more than `most`.
    pub fn marks(self, most: usize) -> Vec<f64> {
        let decades = (self.low.log10().floor() as i32)..=(self.high.log10().ceil() as i32);
        let within = |value: &f64| (self.low..=self.high).contains(value);
        let marks = |steps: &'static [f64]| {
            let each = decades
                .clone()
                .flat_map(move |decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
            each.filter(within).collect::<Vec<f64>>()
        };
        let fine = marks(&[1.0, 2.0, 5.0]);
        match fine.len() <= most {
            true => fine,
            false => marks(&[1.0]),
        }
    }
}

/// An axis of quantiles on which each further nine is equally far: 0 %, 90 %, 99 %, 99.9 % ...
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuantileAxis {
    nines: f64,
}

impl QuantileAxis {
    /// Reaches the last quantile below 1 of the curves, at least to 99.9 % and at most to
    /// 99.9999 %.
    pub fn holding(quantiles: impl IntoIterator<Item = f64>) -> QuantileAxis {
        let nines = quantiles
            .into_iter()
            .filter(|q| *q < 1.0)
            .map(nines)
            .fold(3.0, f64::max);
        QuantileAxis {
            nines: nines.min(6.0),
        }
    }

    /// 0 at 0 %, 1 at the end of the axis; the maximum is at the end.
    pub fn place(self, quantile: f64) -> f64 {
        (nines(quantile) / self.nines).clamp(0.0, 1.0)
    }

    /// Quantiles to mark.
    pub fn marks(self) -> Vec<f64> {
        let all = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999_999];
        all.into_iter()
            .filter(|quantile| nines(*quantile) <= self.nines + 1e-6)
            .collect()
    }
}

fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile.clamp(0.0, 1.0)).max(1e-12).log10()
}

/// An axis from zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ZeroAxis {
    high: f64,
}

impl ZeroAxis {
    /// Holds all values.
    pub fn holding(values: impl IntoIterator<Item = f64>) -> ZeroAxis {
        let finite = values.into_iter().filter(|value| value.is_finite());
        let high = finite.fold(0.0, f64::max);
        ZeroAxis {
            high: if high > 0.0 { high * 1.05 } else { 1.0 },
        }
    }

    /// In percent of its length.
    pub fn percent(self, value: f64) -> f64 {
        match value.is_finite() {
            true => (100.0 * value / self.high).clamp(0.0, 100.0),
            false => 0.0,
        }
    }
}

/// `850 us`, `1.20 ms`, `2.50 s`, with the Greek letter.
pub fn duration(us: f64) -> String {
    in_unit(us, fixed)
}

/// The same for a mark of an axis, which is round: `2 ms`.
pub fn round_duration(us: f64) -> String {
    in_unit(us, significant)
}

fn in_unit(us: f64, show: fn(f64) -> String) -> String {
    match us {
        us if !us.is_finite() => "-".to_owned(),
        us if us < 999.5 => format!("{} µs", show(us)),
        us if us < 999_500.0 => format!("{} ms", show(us / 1e3)),
        us => format!("{} s", show(us / 1e6)),
    }
}

/// Three digits that mean something, so that numbers of one size line up: `0.70`, `20.0`.
pub fn fixed(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "-".to_owned(),
        size if size >= 99.95 => grouped(value),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Three digits that mean something, without zeros behind the point.
pub fn significant(value: f64) -> String {
    let text = match value.abs() {
        size if !size.is_finite() => return "-".to_owned(),
        size if size >= 99.95 => return grouped(value),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.0995 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    };
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text.is_empty() {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

/// `48,731`
pub fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    match value < 0.0 && text != "0" {
        true => format!("-{text}"),
        false => text,
    }
}

/// `99.9 %`
pub fn quantile(quantile: f64) -> String {
    // Rounded, since 0.999 times 100 is not quite 99.9.
    let percent = (quantile * 100.0 * 1e6).round() / 1e6;
    format!("{percent} %")
}

/// `1.5 KiB`
pub fn bytes(count: f64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = units
        .into_iter()
        .find(|(_, size)| count >= f64::from(*size));
    match unit {
        Some((name, size)) => format!("{} {name}", significant(count / f64::from(size))),
        None => format!("{} B", significant(count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_nine_is_equally_far() {
        let axis = QuantileAxis::holding([0.5, 0.9999]);
        let gap = |from, to| axis.place(to) - axis.place(from);
        assert!((gap(0.9, 0.99) - gap(0.99, 0.999)).abs() < 1e-9);
        assert!((axis.place(0.9999) - 1.0).abs() < 1e-9);
        assert_eq!((axis.place(0.0), axis.place(1.0)), (0.0, 1.0));
    }

    #[test]
    fn the_quantile_axis_has_bounds() {
        assert_eq!(
            QuantileAxis::holding([]).marks(),
            [0.0, 0.5, 0.9, 0.99, 0.999]
        );
        let far = QuantileAxis::holding([0.999_999_999_9]);
        assert_eq!(far.marks().last(), Some(&0.999_999));
    }

    #[test]
    fn equal_ratios_are_equally_far() {
        let axis = LogAxis::holding([100.0, 10_000.0]);
        let gap = |from: f64, to: f64| axis.place(to) - axis.place(from);
        assert!((gap(200.0, 400.0) - gap(2_000.0, 4_000.0)).abs() < 1e-9);
        assert_eq!((axis.place(0.0), axis.place(1e9)), (0.0, 1.0));
    }

    #[test]
    fn marks_are_round_and_few() {
        assert_eq!(
            LogAxis::holding([100.0, 1000.0]).marks(6),
            [100.0, 200.0, 500.0, 1000.0]
        );
        let wide = LogAxis::holding([1.0, 1e6]).marks(8);
        assert_eq!(wide.len(), 7);
        assert_eq!(LogAxis::holding([]).marks(5), [1.0, 2.0, 5.0, 10.0]);
        assert!(!LogAxis::holding([300.0, 300.0]).place(300.0).is_nan());
    }

    #[test]
    fn values_are_shown_in_the_unit_that_fits() {
        assert_eq!(duration(850.0), "850 µs");
        assert_eq!(duration(1250.0), "1.25 ms");
        assert_eq!(duration(2_500_000.0), "2.50 s");
        assert_eq!(duration(999.7), "1.00 ms");
        assert_eq!(round_duration(2_000.0), "2 ms");
        assert_eq!(
            [fixed(0.7), fixed(20.0), fixed(1234.0)],
            ["0.70", "20.0", "1,234"]
        );
        assert_eq!(significant(20.34), "20.3");
        assert_eq!(significant(0.68), "0.68");
        assert_eq!(grouped(48_731.4), "48,731");
        assert_eq!(grouped(-1000.0), "-1,000");
        assert_eq!(quantile(0.999), "99.9 %");
        assert_eq!(quantile(0.5), "50 %");
        assert_eq!(bytes(1536.0), "1.5 KiB");
        assert_eq!(bytes(17.0), "17 B");
        assert_eq!(significant(0.0), "0");
    }

    #[test]
    fn bars_start_at_zero() {
        let axis = ZeroAxis::holding([2.0, f64::NAN]);
        assert_eq!(axis.percent(0.0), 0.0);
        assert!((axis.percent(1.05) - 50.0).abs() < 1e-9);
        assert_eq!(axis.percent(f64::NAN), 0.0);
    }
}
