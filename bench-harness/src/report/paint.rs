//! How a program or a run looks wherever it is drawn: a colour, and a dash pattern and a marker
//! for those who do not tell colours apart.

use super::html::e;

/// One of the looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint(usize);

impl Paint {
    /// The look of a name: programs that everybody knows keep theirs on every page, others take
    /// the one of their place in the list.
    pub fn of(name: &str, index: usize) -> Paint {
        // `nginx-log` is nginx, with the next dash pattern.
        let program = name.split(['-', ' ', '.']).next().unwrap_or(name);
        let known = KNOWN.iter().position(|known| known == &program);
        Paint(match known {
            Some(place) if program == name => place,
            Some(place) => place + COLOURS,
            None => index % COLOURS,
        })
    }

    /// The class that has its colour.
    pub fn class(self) -> String {
        format!("c{}", self.0 % COLOURS)
    }

    /// Its dash pattern.
    pub fn dashes(self) -> &'static str {
        const PATTERNS: [&str; COLOURS] = [
            "none",
            "7 3",
            "2 3",
            "10 3 2 3",
            "5 2",
            "1 2",
            "14 4",
            "6 2 1 2 1 2",
        ];
        let shift = self.0 / COLOURS;
        PATTERNS[(self.0 % COLOURS + shift) % PATTERNS.len()]
    }

    /// Its marker at a place, with a text for those who point at it.
    pub fn marker(self, x: f64, y: f64, tip: &str) -> String {
        let shape = match self.0 % 5 {
            0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.6\""),
            1 => format!(
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"6.6\" height=\"6.6\"",
                x - 3.3,
                y - 3.3
            ),
            2 => polygon(x, y, &[(0.0, -4.6), (4.2, 3.2), (-4.2, 3.2)]),
            3 => polygon(x, y, &[(0.0, -4.8), (4.8, 0.0), (0.0, 4.8), (-4.8, 0.0)]),
            _ => polygon(x, y, &[(0.0, 4.6), (4.2, -3.2), (-4.2, -3.2)]),
        };
        let hollow = if self.0 % COLOURS >= 5 { " hollow" } else { "" };
        let class = format!("{}{hollow}", self.class());
        match tip.is_empty() {
            true => format!("{shape} class=\"mark {class}\"/>"),
            false => format!(
                "{shape} class=\"mark {class}\"><title>{}</title>{}",
                e(tip),
                close(&shape)
            ),
        }
    }
}

fn polygon(x: f64, y: f64, corners: &[(f64, f64)]) -> String {
    let points = corners
        .iter()
        .map(|(dx, dy)| format!("{:.1},{:.1}", x + dx, y + dy));
    format!(
        "<polygon points=\"{}\"",
        points.collect::<Vec<_>>().join(" ")
    )
}

fn close(shape: &str) -> String {
    let name = shape
        .trim_start_matches('<')
        .split(' ')
        .next()
        .unwrap_or_default();
    format!("</{name}>")
}

/// Colours in the style: `.c0` and so on.
pub const COLOURS: usize = 8;

const KNOWN: [&str; COLOURS] = [
    "ringgate", "nginx", "haproxy", "envoy", "caddy", "relay", "stock", "service",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::fault_in;

    #[test]
    fn a_program_looks_the_same_wherever_it_stands() {
        assert_eq!(Paint::of("nginx", 5), Paint::of("nginx", 0));
        assert_ne!(Paint::of("nginx", 0), Paint::of("ringgate", 0));
    }

    #[test]
    fn a_variant_has_the_colour_of_its_program_and_other_dashes() {
        let (plain, variant) = (Paint::of("nginx", 0), Paint::of("nginx-log", 1));
        assert_eq!(plain.class(), variant.class());
        assert_ne!(plain.dashes(), variant.dashes());
    }

    #[test]
    fn markers_are_well_formed() {
        for index in 0..COLOURS {
            let paint = Paint(index);
            assert_eq!(fault_in(&paint.marker(1.0, 2.0, "<tip>")), None);
            assert_eq!(fault_in(&paint.marker(1.0, 2.0, "")), None);
        }
    }
}
