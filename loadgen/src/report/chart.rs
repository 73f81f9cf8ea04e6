//! Charts: curves, bands, shades and marks, worked out to the numbers an SVG needs.

use std::fmt::Write as _;

use serde::Serialize;

use super::axis::Axis;
use super::thin::{Point, thin};

/// Width of every chart, in units of its view box.
pub(super) const WIDTH: f64 = 720.0;
const LEFT: f64 = 68.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 24.0;
/// How many kinds of lines the style sheet tells apart.
const STYLES: usize = 8;

/// A chart, ready to be drawn.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Chart {
    /// Unique on the page.
    pub(super) id: String,
    /// What it shows.
    pub(super) title: String,
    /// The same for those who cannot see it, with its main figures.
    pub(super) desc: String,
    /// What is to be said of it.
    pub(super) note: Option<String>,
    width: f64,
    height: f64,
    plot: Frame,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    shades: Vec<Shade>,
    marks: Vec<Mark>,
    bands: Vec<Shape>,
    lines: Vec<Shape>,
    dots: Vec<Dot>,
}

#[derive(Clone, Debug, Serialize)]
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

#[derive(Clone, Debug, Serialize)]
struct Tick {
    at: String,
    label: String,
}

/// A time something lasted, behind the curves.
#[derive(Clone, Debug, Serialize)]
struct Shade {
    x: String,
    width: String,
    kind: &'static str,
    label: String,
}

/// A moment, as a line across.
#[derive(Clone, Debug, Serialize)]
struct Mark {
    x: String,
    short: String,
    label: String,
}

#[derive(Clone, Debug, Serialize)]
struct Shape {
    style: usize,
    d: String,
    label: String,
}

#[derive(Clone, Debug, Serialize)]
struct Dot {
    x: String,
    y: String,
    kind: &'static str,
    label: String,
}

/// What is drawn, before it is worked out.
pub(super) struct Canvas {
    chart: Chart,
    x: Axis,
    y: Axis,
}

impl Canvas {
    pub(super) fn new(id: &str, title: String, x: Axis, y: Axis, height: f64) -> Self {
        let plot = Frame {
            left: LEFT,
            right: WIDTH - RIGHT,
            top: TOP,
            bottom: height - BOTTOM,
        };
        let mut canvas = Self {
            chart: Chart {
                id: id.to_owned(),
                title,
                desc: String::new(),
                note: None,
                width: WIDTH,
                height,
                plot,
                x_ticks: Vec::new(),
                y_ticks: Vec::new(),
                shades: Vec::new(),
                marks: Vec::new(),
                bands: Vec::new(),
                lines: Vec::new(),
                dots: Vec::new(),
            },
            x,
            y,
        };
        let tick = |axis: &Axis, at: f64, place: f64| Tick {
            at: number(place),
            label: axis.unit.show(at),
        };
        let x_ticks = canvas.x.ticks.iter();
        let x_ticks = x_ticks.map(|at| tick(&canvas.x, *at, canvas.across(*at)));
        let y_ticks = canvas.y.ticks.iter();
        let y_ticks = y_ticks.map(|at| tick(&canvas.y, *at, canvas.down(*at)));
        (canvas.chart.x_ticks, canvas.chart.y_ticks) = (x_ticks.collect(), y_ticks.collect());
        canvas
    }

    fn across(&self, x: f64) -> f64 {
        let plot = &self.chart.plot;
        plot.left + self.x.place(x) * (plot.right - plot.left)
    }

    fn down(&self, y: f64) -> f64 {
        let plot = &self.chart.plot;
        plot.bottom - self.y.place(y) * (plot.bottom - plot.top)
    }

    fn inside(&self, x: f64) -> bool {
        let (from, to) = self.x.ends();
        (from..=to).contains(&x)
    }

    fn placed(&self, points: &[Point]) -> Vec<Point> {
        let seen = points
            .iter()
            .filter(|(x, y)| x.is_finite() && y.is_finite());
        seen.map(|(x, y)| (self.across(*x), self.down(*y)))
            .collect()
    }

    /// A line through `points`, each stretch of them on its own, thinned to `most` in all.
    pub(super) fn line(&mut self, label: &str, stretches: &[Vec<Point>], most: usize) -> &mut Self {
        let all: usize = stretches.iter().map(Vec::len).sum();
        let mut d = String::new();
        for points in stretches.iter().filter(|points| !points.is_empty()) {
            let share = (most * points.len()).div_ceil(all.max(1));
            path(&mut d, &self.placed(&thin(points, share)));
        }
        let style = self.chart.lines.len() % STYLES;
        self.chart.lines.push(Shape {
            style,
            d,
            label: label.to_owned(),
        });
        self
    }

    /// The area between two curves over the same places.
    pub(super) fn band(
        &mut self,
        label: &str,
        low: &[Point],
        high: &[Point],
        most: usize,
    ) -> &mut Self {
        let (low, high) = (thin(low, most), thin(high, most));
        let mut around = self.placed(&high);
        let mut back = self.placed(&low);
        back.reverse();
        around.extend(back);
        let mut d = String::new();
        path(&mut d, &around);
        if !d.is_empty() {
            d.push('Z');
        }
        let style = self.chart.bands.len() % STYLES;
        self.chart.bands.push(Shape {
            style,
            d,
            label: label.to_owned(),
        });
        self
    }

    /// A time something lasted. `kind` is a class of the style sheet.
    pub(super) fn shade(
        &mut self,
        from: f64,
        to: f64,
        kind: &'static str,
        label: &str,
    ) -> &mut Self {
        let (left, right) = (self.across(from), self.across(to));
        if right > left {
            self.chart.shades.push(Shade {
                x: number(left),
                width: number(right - left),
                kind,
                label: label.to_owned(),
            });
        }
        self
    }

    /// A moment. What is outside the chart is left out.
    pub(super) fn mark(&mut self, x: f64, short: &str, label: &str) -> &mut Self {
        if self.inside(x) {
            self.chart.marks.push(Mark {
                x: number(self.across(x)),
                short: short.to_owned(),
                label: label.to_owned(),
            });
        }
        self
    }

    /// One value that wants to be seen. `kind` is a class of the style sheet.
    pub(super) fn dot(&mut self, (x, y): Point, kind: &'static str, label: String) -> &mut Self {
        if self.inside(x) {
            self.chart.dots.push(Dot {
                x: number(self.across(x)),
                y: number(self.down(y)),
                kind,
                label,
            });
        }
        self
    }

    /// Ends it with what is to be read aloud, and a note.
    pub(super) fn done(self, desc: String, note: Option<String>) -> Chart {
        Chart {
            desc,
            note,
            ..self.chart
        }
    }
}

/// A coordinate to a tenth of a unit.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// Adds a path through `points`, as offsets from point to point: the shortest form.
fn path(d: &mut String, points: &[Point]) {
    let tenths = |value: f64| (value * 10.0).round() as i64;
    let mut at = (0, 0);
    for (index, (x, y)) in points.iter().enumerate() {
        let next = (tenths(*x), tenths(*y));
        let (dx, dy) = (next.0 - at.0, next.1 - at.1);
        // Writing into a string cannot fail.
        let _ = match index {
            0 => write!(d, "M{} {}", tenth(next.0), tenth(next.1)),
            _ if dy == 0 && dx == 0 && index + 1 < points.len() => Ok(()),
            _ if dy == 0 => write!(d, "h{}", tenth(dx)),
            _ if dx == 0 => write!(d, "v{}", tenth(dy)),
            _ => write!(d, "l{} {}", tenth(dx), tenth(dy)),
        };
        at = next;
    }
}

fn tenth(tenths: i64) -> String {
    let sign = if tenths < 0 { "-" } else { "" };
    match (tenths.unsigned_abs() / 10, tenths.unsigned_abs() % 10) {
        (whole, 0) => format!("{sign}{whole}"),
        (0, rest) => format!("{sign}.{rest}"),
        (whole, rest) => format!("{sign}{whole}.{rest}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use proptest::prelude::*;

    use super::*;
    use crate::report::axis::Unit;

    /// The points a path goes through.
    fn walk(d: &str) -> Vec<Point> {
        let commands = regex::Regex::new("([MlhvZ])([^MlhvZ]*)").unwrap();
        let (mut x, mut y, mut points) = (0.0, 0.0, Vec::new());
        for command in commands.captures_iter(d) {
            let numbers = command[2].split_whitespace();
            let numbers: Vec<f64> = numbers.map(|n| n.parse().unwrap()).collect();
            match (&command[1], numbers.as_slice()) {
                ("M", [to_x, to_y]) => (x, y) = (*to_x, *to_y),
                ("l", [dx, dy]) => (x, y) = (x + dx, y + dy),
                ("h", [dx]) => x += dx,
                ("v", [dy]) => y += dy,
                ("Z", []) => {}
                other => panic!("{other:?} in {d}"),
            }
            points.push((x, y));
        }
        points
    }

    #[test]
    fn a_path_is_written_in_few_characters() {
        let mut d = String::new();
        path(
            &mut d,
            &[(68.0, 100.0), (70.5, 100.0), (70.5, 90.0), (71.2, 89.5)],
        );
        assert_eq!(d, "M68 100h2.5v-10l.7 -.5");
    }

    proptest! {
        #[test]
        fn curves_stay_inside_and_go_on(
            steps in proptest::collection::vec((0.0f64..50.0, proptest::num::f64::ANY), 0..600),
            highest in proptest::num::f64::ANY,
            log: bool,
        ) {
            let mut x = 0.0;
            let points: Vec<Point> = steps.iter().map(|(dx, y)| { x += dx; (x, *y) }).collect();
            let y = match log {
                true => Axis::powers(1.0, highest, Unit::Micros),
                false => Axis::up_to(highest, Unit::Count),
            };
            let mut canvas = Canvas::new("c", String::new(), Axis::times(0.0, x * 0.9), y, 160.0);
            canvas.line("all", std::slice::from_ref(&points), 400).band("band", &points, &points, 400);
            let chart = canvas.done(String::new(), None);
            let line = walk(&chart.lines[0].d);
            prop_assert!(line.windows(2).all(|pair| pair[0].0 <= pair[1].0 + 1e-6));
            for (x, y) in line.into_iter().chain(walk(&chart.bands[0].d)) {
                prop_assert!((LEFT - 0.1..=WIDTH - RIGHT + 0.1).contains(&x), "{x}");
                prop_assert!((TOP - 0.1..=160.0 - BOTTOM + 0.1).contains(&y), "{y}");
            }
        }
    }
}
