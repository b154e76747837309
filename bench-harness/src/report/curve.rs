//! Curves of latency over quantiles. Each chart is drawn twice, for wide and for narrow pages,
//! so that its letters keep their size; the style shows one of them.

use super::html::{e, slug};
use super::paint::Paint;
use super::scale::{LogAxis, QuantileAxis, duration, quantile, round_duration};

/// One line of a chart.
#[derive(Debug, Clone)]
pub struct Curve<'a> {
    /// What it is.
    pub name: &'a str,
    /// How it looks.
    pub paint: Paint,
    /// `[quantile, microseconds]`, both rising.
    pub points: &'a [[f64; 2]],
}

/// The chart with its legend; empty when there is nothing to draw.
pub fn chart(title: &str, curves: &[Curve<'_>]) -> String {
    let curves: Vec<&Curve<'_>> = curves
        .iter()
        .filter(|curve| !curve.points.is_empty())
        .collect();
    if curves.is_empty() {
        return String::new();
    }
    let points = || curves.iter().flat_map(|curve| curve.points);
    let x = QuantileAxis::holding(points().map(|point| point[0]));
    let y = LogAxis::holding(points().map(|point| point[1]));
    let wide = draw(title, &curves, (x, y), WIDE);
    let narrow = draw(title, &curves, (x, y), NARROW);
    format!(
        "<figure class=\"chart\"><figcaption>{}</figcaption>\n{wide}{narrow}{}</figure>\n",
        e(title),
        legend(&curves)
    )
}

/// Where things are, in pixels.
#[derive(Debug, Clone, Copy)]
struct Frame {
    class: &'static str,
    width: f64,
    height: f64,
    left: f64,
    /// Room for the names at the ends of the lines; none when there are only legends.
    right: f64,
    labels: Labels,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Labels {
    AtEnds,
    None,
}

const WIDE: Frame = Frame {
    class: "wide",
    width: 1000.0,
    height: 360.0,
    left: 62.0,
    right: 136.0,
    labels: Labels::AtEnds,
};
const NARROW: Frame = Frame {
    class: "narrow",
    width: 340.0,
    height: 280.0,
    left: 54.0,
    right: 12.0,
    labels: Labels::None,
};
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;
/// Width of a letter, on average.
const LETTER: f64 = 6.6;

impl Frame {
    fn x(self, place: f64) -> f64 {
        self.left + place * (self.width - self.left - self.right)
    }

    fn y(self, place: f64) -> f64 {
        self.floor() - place * (self.floor() - TOP)
    }

    fn floor(self) -> f64 {
        self.height - BOTTOM
    }
}

fn draw(
    title: &str,
    curves: &[&Curve<'_>],
    (x, y): (QuantileAxis, LogAxis),
    frame: Frame,
) -> String {
    let mut svg = format!(
        "<svg class=\"{}\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n",
        frame.class,
        frame.width,
        frame.height,
        e(describe(title, curves))
    );
    svg.push_str(&grid(x, y, frame));
    let mut ends = Vec::new();
    for curve in curves {
        let paint = curve.paint;
        let place = |point: &[f64; 2]| (frame.x(x.place(point[0])), frame.y(y.place(point[1])));
        let path: Vec<String> = thinned(curve.points.iter().map(place))
            .into_iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        svg.push_str(&format!(
            "<polyline class=\"line {}\" stroke-dasharray=\"{}\" points=\"{}\"/>\n",
            paint.class(),
            paint.dashes(),
            path.join(" ")
        ));
        for mark in [0.5, 0.9, 0.99, 0.999] {
            if let Some(us) = at(curve.points, mark) {
                let (x, y) = place(&[mark, us]);
                let tip = format!("{}: {} at {}", curve.name, duration(us), quantile(mark));
                svg.push_str(&paint.marker(x, y, &tip));
            }
        }
        if let Some(last) = curve.points.last() {
            ends.push((place(last).1, *curve));
        }
    }
    if frame.labels == Labels::AtEnds {
        svg.push_str(&end_labels(ends, frame));
    }
    svg.push_str("</svg>\n");
    svg
}

fn grid(x: QuantileAxis, y: LogAxis, frame: Frame) -> String {
    let mut svg = String::new();
    let (left, right) = (frame.x(0.0), frame.x(1.0));
    for mark in y.marks(9) {
        let place = frame.y(y.place(mark));
        svg.push_str(&format!(
            "<line class=\"grid\" x1=\"{left:.1}\" x2=\"{right:.1}\" y1=\"{place:.1}\" y2=\"{place:.1}\"/>\
             <text class=\"tick end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
            left - 8.0,
            place + 4.0,
            round_duration(mark)
        ));
    }
    let mut free = f64::NEG_INFINITY;
    for mark in x.marks() {
        let place = frame.x(x.place(mark));
        svg.push_str(&format!(
            "<line class=\"grid\" x1=\"{place:.1}\" x2=\"{place:.1}\" y1=\"{TOP:.1}\" y2=\"{:.1}\"/>\n",
            frame.floor()
        ));
        let label = quantile(mark);
        let half = label.len() as f64 * LETTER / 2.0;
        // Narrow charts have no room for every one.
        if place - half >= free {
            free = place + half + LETTER;
            svg.push_str(&format!(
                "<text class=\"tick mid\" x=\"{place:.1}\" y=\"{:.1}\">{label}</text>\n",
                frame.floor() + 18.0,
            ));
        }
    }
    svg.push_str(&format!(
        "<text class=\"tick mid soft\" x=\"{:.1}\" y=\"{:.1}\">share of requests that were at least this fast</text>\n",
        f64::midpoint(left, right),
        frame.floor() + 37.0
    ));
    svg
}

/// Names beside the ends of their lines, moved apart where they would overlap.
fn end_labels(mut ends: Vec<(f64, &Curve<'_>)>, frame: Frame) -> String {
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut places: Vec<f64> = Vec::new();
    for (y, _) in &ends {
        let free = places.last().map_or(TOP + 6.0, |last| last + 15.0);
        places.push(y.max(free));
    }
    // What was pushed below the floor is pushed back up.
    let mut free = frame.floor();
    for place in places.iter_mut().rev() {
        *place = place.min(free);
        free = *place - 15.0;
    }
    let x = frame.x(1.0);
    let each = ends.iter().zip(places).map(|((y, curve), place)| {
        format!(
            "<line class=\"leader\" x1=\"{:.1}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{place:.1}\"/>\
             <text class=\"label\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
            x + 2.0,
            x + 10.0,
            x + 13.0,
            place + 4.0,
            e(shortened(curve.name))
        )
    });
    each.collect()
}

fn legend(curves: &[&Curve<'_>]) -> String {
    let each = curves.iter().map(|curve| {
        format!(
            "<li><svg class=\"key\" width=\"34\" height=\"14\" aria-hidden=\"true\">\
             <line class=\"line {}\" stroke-dasharray=\"{}\" x1=\"0\" x2=\"34\" y1=\"7\" y2=\"7\"/>{}</svg>{}</li>",
            curve.paint.class(),
            curve.paint.dashes(),
            curve.paint.marker(17.0, 7.0, ""),
            e(curve.name)
        )
    });
    format!("<ul class=\"legend\">{}</ul>\n", each.collect::<String>())
}

/// For those who do not see it.
fn describe(title: &str, curves: &[&Curve<'_>]) -> String {
    let each = curves.iter().map(|curve| {
        let at = |mark| at(curve.points, mark).map_or_else(|| "-".to_owned(), duration);
        format!(
            "{}: half below {}, 99 % below {}",
            curve.name,
            at(0.5),
            at(0.99)
        )
    });
    let each: Vec<String> = each.collect();
    format!("{title}. {}", each.join("; "))
}

/// The latency at a quantile: of the first point that reaches it.
fn at(points: &[[f64; 2]], quantile: f64) -> Option<f64> {
    let reached = points.iter().find(|point| point[0] >= quantile - 1e-9);
    reached.map(|point| point[1])
}

/// Leaves out points that are less than a pixel from the one before, but for the last.
fn thinned(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut kept: Vec<(f64, f64)> = Vec::new();
    let mut held = None;
    for (x, y) in points {
        let near = |(kx, ky): &(f64, f64)| (kx - x).abs() < 1.0 && (ky - y).abs() < 1.0;
        if kept.last().is_some_and(near) {
            held = Some((x, y));
        } else {
            kept.push((x, y));
            held = None;
        }
    }
    kept.extend(held);
    kept
}

/// What fits beside a line.
fn shortened(name: &str) -> String {
    match name.chars().count() > 17 {
        true => name.chars().take(16).chain(['…']).collect(),
        false => name.to_owned(),
    }
}

/// The id of a chart's section.
pub fn id(parts: &[&str]) -> String {
    parts
        .iter()
        .map(|part| slug(part))
        .collect::<Vec<_>>()
        .join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::fault_in;

    const POINTS: [[f64; 2]; 4] = [[0.0, 100.0], [0.5, 200.0], [0.99, 900.0], [1.0, 1500.0]];

    fn curve(name: &str) -> Curve<'_> {
        Curve {
            name,
            paint: Paint::of(name, 0),
            points: &POINTS,
        }
    }

    fn places(svg: &str) -> Vec<f64> {
        let labels = svg.split("class=\"label\"").skip(1);
        let y = labels.map(|part| part.split("y=\"").nth(1).and_then(|y| y.split('"').next()));
        y.map(|y| y.and_then(|y| y.parse().ok()).unwrap_or(f64::NAN))
            .collect()
    }

    #[test]
    fn a_chart_is_well_formed_and_names_its_lines() {
        let chart = chart("a <b> & c", &[curve("ringgate"), curve("<i>x</i>")]);
        assert_eq!(fault_in(&chart), None);
        assert!(chart.contains("&lt;i&gt;x&lt;/i&gt;") && !chart.contains("<i>"));
        assert!(chart.contains("class=\"wide\"") && chart.contains("class=\"narrow\""));
    }

    #[test]
    fn nothing_to_draw_is_no_chart() {
        let mut empty = curve("x");
        empty.points = &[];
        assert_eq!(chart("t", &[empty]), "");
    }

    #[test]
    fn labels_of_lines_that_end_together_do_not_overlap() {
        let names = ["a", "b", "c", "d", "e", "f"];
        let curves: Vec<Curve<'_>> = names.iter().map(|name| curve(name)).collect();
        let places = places(&chart("t", &curves));
        assert_eq!(places.len(), 6);
        assert!(
            places.windows(2).all(|pair| pair[1] - pair[0] >= 14.9),
            "{places:?}"
        );
        assert!(
            places.iter().all(|y| (TOP..=WIDE.height).contains(y)),
            "{places:?}"
        );
    }

    #[test]
    fn a_quantile_between_points_takes_the_next() {
        assert_eq!(at(&POINTS, 0.5), Some(200.0));
        assert_eq!(at(&POINTS, 0.9), Some(900.0));
        assert_eq!(at(&POINTS[..2], 0.9), None);
    }

    #[test]
    fn thinning_keeps_both_ends() {
        let points = (0..1000).map(|n| (f64::from(n) / 100.0, 5.0));
        let kept = thinned(points);
        assert!(kept.len() < 15, "{}", kept.len());
        assert_eq!((kept[0].0, kept[kept.len() - 1].0), (0.0, 9.99));
    }
}
