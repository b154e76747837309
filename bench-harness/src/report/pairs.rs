//! Every round of a gate: for pairs, the change in each with the interval behind it; for sides
//! that were measured apart, both in a strip of their own.

use super::gates::{change, describe};
use super::html::e;
use super::scale::significant;
use crate::results::GateFigure;

/// The change in each round, so small that several fit beside each other.
pub fn chart(figure: &GateFigure) -> String {
    let ratios: Vec<f64> = figure
        .candidate
        .iter()
        .zip(&figure.base)
        .map(|(candidate, base)| candidate / base)
        .collect();
    if ratios.is_empty() {
        return String::new();
    }
    let axis = Axis::holding(ratios.iter().copied().chain([
        figure.low,
        figure.high,
        1.0,
        1.0 + figure.threshold,
    ]));
    format!(
        "<figure class=\"chart\"><figcaption>{} <span class=\"soft\">change in each round</span></figcaption>\n{}\
         <ul class=\"legend\"><li><svg class=\"key\" width=\"34\" height=\"14\" aria-hidden=\"true\"><circle class=\"mark c0\" cx=\"10\" cy=\"7\" r=\"3.6\"/><circle class=\"mark hollow c0\" cx=\"24\" cy=\"7\" r=\"3.6\"/></svg>rounds; hollow: candidate first</li>\
         <li><svg class=\"key\" width=\"34\" height=\"14\" aria-hidden=\"true\"><rect class=\"band\" x=\"0\" y=\"2\" width=\"34\" height=\"10\"/><line class=\"estimate\" x1=\"0\" x2=\"34\" y1=\"7\" y2=\"7\"/></svg>estimate and interval</li>\
         <li><svg class=\"key\" width=\"34\" height=\"14\" aria-hidden=\"true\"><line class=\"limit\" x1=\"0\" x2=\"34\" y1=\"7\" y2=\"7\"/></svg>threshold</li></ul></figure>\n",
        e(&figure.name),
        draw(figure, &ratios, axis)
    )
}

/// A linear axis of ratios.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    fn holding(values: impl Iterator<Item = f64>) -> Axis {
        let (low, high) = values
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        if low > high {
            return Axis {
                low: 0.0,
                high: 2.0,
            };
        }
        let air = ((high - low) * 0.08).max(0.002);
        Axis {
            low: low - air,
            high: high + air,
        }
    }

    /// 0 at the low end, 1 at the high end.
    fn place(self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// A handful of round values.
    fn marks(self) -> Vec<f64> {
        let rough = (self.high - self.low) / 4.0;
        let power = 10_f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
        let step = steps
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last).map(|count| count as f64 * step).collect()
    }
}

fn draw(figure: &GateFigure, ratios: &[f64], axis: Axis) -> String {
    let x = |place: f64| LEFT + place * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| TOP + (1.0 - axis.place(value)) * (HEIGHT - TOP - BOTTOM);
    let (left, right) = (x(0.0), x(1.0));
    let across = |class: &str, value: f64| {
        let y = y(value);
        format!(
            "<line class=\"{class}\" x1=\"{left:.1}\" x2=\"{right:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\n"
        )
    };
    let mut svg = format!(
        "<svg class=\"small\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
        e(describe(figure))
    );
    let (top, bottom) = (y(figure.high), y(figure.low));
    svg.push_str(&format!(
        "<rect class=\"band\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\n",
        right - left,
        (bottom - top).max(1.0)
    ));
    for mark in axis.marks() {
        let same = (mark - 1.0).abs() < 1e-9;
        svg.push_str(&across(if same { "grid strong" } else { "grid" }, mark));
        svg.push_str(&format!(
            "<text class=\"tick end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
            left - 8.0,
            y(mark) + 4.0,
            if same { "0 %".to_owned() } else { change(mark) }
        ));
    }
    svg.push_str(&across("estimate", figure.ratio));
    svg.push_str(&across("limit", 1.0 + figure.threshold));
    let count = ratios.len() as f64;
    for (index, ratio) in ratios.iter().enumerate() {
        let first = if index % 2 == 1 { " hollow" } else { "" };
        svg.push_str(&format!(
            "<circle class=\"mark c0{first}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.6\"><title>round {}: {}</title></circle>\n",
            x((index as f64 + 0.5) / count),
            y(*ratio),
            index + 1,
            change(*ratio)
        ));
    }
    svg.push_str(&format!(
        "<text class=\"tick mid soft\" x=\"{:.1}\" y=\"{:.1}\">{} rounds in their order</text>\n</svg>\n",
        f64::midpoint(left, right),
        HEIGHT - 8.0,
        ratios.len()
    ));
    svg
}

/// Two sides that were measured apart: a mark for each round.
pub fn strips(figure: &GateFigure) -> String {
    let axis = Axis::holding(figure.base.iter().chain(&figure.candidate).copied());
    let strip = |name: &str, paint: &str, values: &[f64]| {
        let marks = values.iter().map(|value| {
            format!(
                "<circle class=\"mark {paint}\" cx=\"{:.2}%\" cy=\"12\" r=\"4\"/>",
                4.0 + 92.0 * axis.place(*value)
            )
        });
        format!(
            "<div class=\"bar\"><span class=\"who\">{name}</span>\
             <svg class=\"track\" width=\"100%\" height=\"24\" aria-hidden=\"true\">{}</svg>\
             <span class=\"value\">{} rounds</span></div>\n",
            marks.collect::<String>(),
            values.len()
        )
    };
    format!(
        "<figure class=\"bars\"><figcaption>{} <span class=\"soft\">ratio to the anchor in each round, from {} to {}</span></figcaption>\n{}{}</figure>\n",
        e(&figure.name),
        significant(axis.low),
        significant(axis.high),
        strip("base", "c1", &figure.base),
        strip("candidate", "c0", &figure.candidate)
    )
}

const WIDTH: f64 = 340.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 30.0;
const HEIGHT: f64 = 230.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::fault_in;
    use crate::report::samples;
    use crate::results::Verdict;

    #[test]
    fn each_round_has_a_mark() {
        let figure = &samples::gate(Verdict::NoRegression).figures[0];
        let text = chart(figure);
        assert_eq!(fault_in(&text), None);
        assert_eq!(text.matches("<title>round ").count(), figure.base.len());
    }

    #[test]
    fn marks_are_round_and_within() {
        let axis = Axis::holding([0.93, 1.08].into_iter());
        let marks = axis.marks();
        assert!((3..=6).contains(&marks.len()), "{marks:?}");
        assert!(
            marks.iter().any(|mark| (mark - 1.0).abs() < 1e-9),
            "{marks:?}"
        );
        assert!(
            marks
                .iter()
                .all(|mark| (0.0..=1.0).contains(&axis.place(*mark)))
        );
    }

    #[test]
    fn equal_rounds_still_have_an_axis() {
        let axis = Axis::holding([1.0, 1.0].into_iter());
        assert!((axis.place(1.0) - 0.5).abs() < 1e-9);
        assert!(!axis.marks().is_empty());
        assert_eq!(
            Axis::holding(std::iter::empty()),
            Axis {
                low: 0.0,
                high: 2.0
            }
        );
    }
}
