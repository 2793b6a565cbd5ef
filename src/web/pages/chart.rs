//! Pictures of numbers over time: where bars, lines and marks are, for a template that draws them as SVG.
//!
//! Never the only place of a number: each picture stands beside a table of the same. Invariant: everything lies within
//! [`WIDTH`] and [`HEIGHT`].

/// Size of a picture, in its own units.
pub(super) const WIDTH: u32 = 720;
pub(super) const HEIGHT: u32 = 220;
/// Room for the marks at the left and below, and above the highest value.
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 24.0;
const TOP: f64 = 10.0;
/// Marks below, at most.
const NAMES_MAX: usize = 8;

/// Values of one kind, one for each place on the axis; `None` where there is none.
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) class: &'static str,
    pub(super) values: Vec<Option<f64>>,
}

/// What is drawn.
pub(super) struct Chart {
    pub(super) title: &'static str,
    pub(super) legend: Vec<(&'static str, &'static str)>,
    pub(super) bars: Vec<Bar>,
    pub(super) lines: Vec<Line>,
    pub(super) dots: Vec<Dot>,
    pub(super) levels: Vec<Level>,
    pub(super) names: Vec<Name>,
}

pub(super) struct Bar {
    pub(super) class: &'static str,
    pub(super) x: String,
    pub(super) y: String,
    pub(super) width: String,
    pub(super) height: String,
    /// What it is, for who points at it.
    pub(super) told: String,
}

/// Points that belong together, without a gap.
pub(super) struct Line {
    pub(super) class: &'static str,
    pub(super) points: String,
}

pub(super) struct Dot {
    pub(super) class: &'static str,
    pub(super) x: String,
    pub(super) y: String,
    pub(super) told: String,
}

/// A value at the left, and the line at its height.
pub(super) struct Level {
    pub(super) y: String,
    pub(super) text: String,
}

/// A place on the axis below.
pub(super) struct Name {
    pub(super) x: String,
    pub(super) text: String,
}

/// Where things are.
struct Scale {
    places: usize,
    most: f64,
}

impl Scale {
    fn of(names: &[String], most: f64) -> Self {
        Self { places: names.len().max(1), most: nice(most) }
    }

    #[expect(clippy::cast_precision_loss, reason = "a few hundred places")]
    fn step(&self) -> f64 {
        (f64::from(WIDTH) - LEFT) / self.places as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "a few hundred places")]
    fn x(&self, place: usize) -> f64 {
        LEFT + self.step() * place as f64
    }

    fn y(&self, value: f64) -> f64 {
        let room = f64::from(HEIGHT) - BOTTOM - TOP;
        TOP + room * (1.0 - (value / self.most).clamp(0.0, 1.0))
    }

    fn levels(&self, text: fn(f64) -> String) -> Vec<Level> {
        [0.0, 0.5, 1.0].map(|part| Level { y: number(self.y(self.most * part)), text: text(self.most * part) }).into()
    }

    fn names(&self, names: &[String]) -> Vec<Name> {
        let every = names.len().div_ceil(NAMES_MAX).max(1);
        let shown = names.iter().enumerate().filter(|(place, _)| place % every == 0);
        shown.map(|(place, name)| Name { x: number(self.x(place) + self.step() / 2.0), text: short(name) }).collect()
    }
}

/// Bars that stand on each other, one pile for each place.
pub(super) fn piles(title: &'static str, names: &[String], series: &[Series]) -> Chart {
    let height = |place: usize| series.iter().filter_map(|one| one.values.get(place).copied().flatten()).sum::<f64>();
    let scale = Scale::of(names, (0..names.len()).map(height).fold(1.0, f64::max));
    let mut bars = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let mut below = 0.0;
        for one in series {
            let value = one.values.get(place).copied().flatten().unwrap_or(0.0);
            if value <= 0.0 {
                continue;
            }
            let (top, foot) = (scale.y(below + value), scale.y(below));
            below += value;
            bars.push(Bar {
                class: one.class,
                x: number(scale.x(place) + scale.step() * 0.12),
                y: number(top),
                width: number(scale.step() * 0.76),
                height: number(foot - top),
                told: format!("{name}: {value} {}", one.name),
            });
        }
    }
    let (levels, names) = (scale.levels(|value| format!("{value}")), scale.names(names));
    Chart { title, legend: legend(series), bars, lines: Vec::new(), dots: Vec::new(), levels, names }
}

/// Lines through the values, broken where there are none.
pub(super) fn lines(title: &'static str, names: &[String], series: &[Series], text: fn(f64) -> String) -> Chart {
    let all = series.iter().flat_map(|one| one.values.iter().copied().flatten());
    let scale = Scale::of(names, all.fold(1.0, f64::max));
    let (mut lines, mut dots) = (Vec::new(), Vec::new());
    for one in series {
        let mut points = Vec::new();
        for (place, value) in one.values.iter().enumerate() {
            let Some(value) = value else {
                lines.extend(line(one.class, &mut points));
                continue;
            };
            let (x, y) = (number(scale.x(place) + scale.step() / 2.0), number(scale.y(*value)));
            points.push(format!("{x},{y}"));
            let name = names.get(place).map(String::as_str).unwrap_or_default();
            dots.push(Dot { class: one.class, x, y, told: format!("{name}: {} {}", one.name, text(*value)) });
        }
        lines.extend(line(one.class, &mut points));
    }
    let (levels, names) = (scale.levels(text), scale.names(names));
    Chart { title, legend: legend(series), bars: Vec::new(), lines, dots, levels, names }
}

/// The line through the points so far, which are taken; one point is no line.
fn line(class: &'static str, points: &mut Vec<String>) -> Option<Line> {
    let points = std::mem::take(points);
    (points.len() > 1).then(|| Line { class, points: points.join(" ") })
}

fn legend(series: &[Series]) -> Vec<(&'static str, &'static str)> {
    series.iter().map(|one| (one.class, one.name)).collect()
}

/// The next of 1, 2, 5, 10, 20, … that is not less.
fn nice(most: f64) -> f64 {
    let power = 10_f64.powf(most.max(1.0).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|nice| *nice >= most).unwrap_or(most)
}

fn number(value: f64) -> String {
    format!("{value:.1}")
}

/// A day without its year, an hour without its day.
fn short(name: &str) -> String {
    match name.split_once('T') {
        Some((_day, hour)) => format!("{hour}:00"),
        None if name.len() > 7 => name.get(5..).unwrap_or(name).to_owned(),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_numbers() {
        let nices: Vec<_> = [0.0, 1.0, 1.5, 3.0, 9.0, 10.0, 11.0, 480.0, 5001.0].into_iter().map(nice).collect();
        assert_eq!(nices, [1.0, 1.0, 2.0, 5.0, 10.0, 10.0, 20.0, 500.0, 10_000.0]);
        assert_eq!(["2026-11-20", "2026-11-20T07", "2026-11"].map(short), ["11-20", "07:00", "2026-11"]);
    }

    #[test]
    fn everything_lies_within_the_picture() {
        let names: Vec<String> = (0..31).map(|day| format!("2026-01-{day:02}")).collect();
        let values = |of: fn(usize) -> Option<f64>| (0..31).map(of).collect::<Vec<_>>();
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let some = Series { name: "approved", class: "good", values: values(|n| (n % 3 > 0).then_some(n as f64)) };
        let other = Series { name: "rejected", class: "bad", values: values(|_| Some(7.0)) };
        let both = [some, other];
        let piled = piles("Requests", &names, &both);
        let inside = |text: &str, most: u32| {
            let value: f64 = text.parse().unwrap();
            assert!((0.0..=f64::from(most) + 0.1).contains(&value), "{text} of {most}");
            value
        };
        for bar in &piled.bars {
            let right = inside(&bar.x, WIDTH) + inside(&bar.width, WIDTH);
            let foot = inside(&bar.y, HEIGHT) + inside(&bar.height, HEIGHT);
            assert!(right <= f64::from(WIDTH) && foot <= f64::from(HEIGHT), "{right} {foot}");
        }
        assert!(piled.names.len() <= NAMES_MAX);
        let lined = lines("Time", &names, &both, |value| format!("{value}"));
        assert_eq!((lined.lines.len(), lined.dots.len()), (11, 51), "a gap ends a line");
        for dot in &lined.dots {
            inside(&dot.x, WIDTH);
            inside(&dot.y, HEIGHT);
        }
        assert!(piles("Nothing", &[], &[]).bars.is_empty());
    }
}
