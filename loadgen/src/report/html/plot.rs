//! Plots as SVG. Drawn here and not by a library: colours then come from the
//! page's style, so that one drawing serves light, dark and paper, and its text
//! is the page's text.

use std::fmt::Write as _;

use super::markup::Text;

/// Colours that the style has, told apart by the colour-blind as well.
const COLOURS: usize = 8;

/// The style of the colour with this number.
pub(super) fn colour(index: usize) -> String {
    format!("--c:var(--c{})", index % COLOURS)
}

/// Where values stand on an axis, and which of them are written there.
pub(super) struct Axis {
    from: f64,
    to: f64,
    is_log: bool,
    /// Value and label; without a label only a line.
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From 0 to at least `most`, in round steps.
    pub(super) fn linear(most: f64, label: impl Fn(f64) -> String) -> Self {
        let most = if most > 0.0 && most.is_finite() { most } else { 1.0 };
        let rough = most / 4.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power);
        let step = step.into_iter().find(|step| *step >= rough * 0.999).unwrap_or(rough);
        let steps = (most / step - 1e-9).ceil().max(1.0) as u32;
        let ticks = (0..=steps).map(|index| f64::from(index) * step).map(|value| (value, label(value)));
        Self { from: 0.0, to: f64::from(steps) * step, is_log: false, ticks: ticks.collect() }
    }

    /// From 0 to exactly `end`, in round steps.
    pub(super) fn linear_to(end: f64, label: impl Fn(f64) -> String) -> Self {
        let mut axis = Self::linear(end, label);
        axis.ticks.retain(|(value, _)| *value <= end * 1.000_1);
        axis.to = end.max(f64::MIN_POSITIVE);
        axis
    }

    /// Logarithmic; from and to are rounded outwards to 1, 2 or 5 times a power of ten.
    pub(super) fn log(least: f64, most: f64, label: impl Fn(f64) -> String) -> Self {
        let least = if least > 0.0 && least.is_finite() { least } else { 1.0 };
        let most = if most.is_finite() { most.max(least) } else { least };
        let rungs: Vec<f64> = (least.log10().floor() as i32 - 1..=most.log10().ceil() as i32 + 1)
            .flat_map(|power| [1.0, 2.0, 5.0].map(|factor| factor * 10_f64.powi(power)))
            .collect();
        let first = rungs.iter().rposition(|rung| *rung <= least * 1.001).unwrap_or(0);
        let last = rungs.iter().position(|rung| *rung >= most * 0.999).unwrap_or(rungs.len() - 1);
        // At least a factor of ten, or noise would look like mountains.
        let last = last.max(first + 3).min(rungs.len() - 1);
        let are_few = last - first <= 7;
        let ticks = rungs[first..=last].iter().map(|rung| {
            let is_decade = (rung.log10() - rung.log10().round()).abs() < 1e-9;
            (*rung, if is_decade || are_few { label(*rung) } else { String::new() })
        });
        Self { from: rungs[first], to: rungs[last], is_log: true, ticks: ticks.collect() }
    }

    /// Nines: 0 is none, 1 is 90 %, 2 is 99 % and so on to `nines`.
    pub(super) fn nines(nines: f64) -> Self {
        let to = nines.max(1.0);
        let mut ticks = vec![(0.0, String::new()), (0.5_f64.recip().log10(), "50 %".to_owned())];
        for (nines, label) in (1..).zip(["90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %"]) {
            if f64::from(nines) <= to {
                ticks.push((f64::from(nines), label.to_owned()));
            }
        }
        Self { from: 0.0, to, is_log: false, ticks }
    }

    /// Where a value stands, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let place = if self.is_log {
            (value.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// A curve.
pub(super) struct Line {
    pub(super) points: Vec<(f64, f64)>,
    pub(super) colour: usize,
    /// Of the style: dash, long, dot.
    pub(super) class: &'static str,
    /// Its entry in the legend, if it has one.
    pub(super) name: Option<String>,
    /// Least and most at every point.
    pub(super) band: Vec<(f64, f64)>,
}

impl Line {
    /// In the colour with this number; later ones are broken, since colours alone do not tell many apart.
    pub(super) fn new(colour: usize, name: String, points: Vec<(f64, f64)>) -> Self {
        let class = match colour {
            0..5 => "",
            5..10 => "long",
            _ => "dot",
        };
        Self { points, colour, class, name: Some(name), band: Vec::new() }
    }
}

/// A plot of curves.
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) note: &'static str,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
    /// A level to compare with, and its name.
    pub(super) level: Option<(f64, String)>,
    pub(super) size: Size,
}

/// Share of the page's width.
#[derive(Clone, Copy)]
pub(super) enum Size {
    Third,
    Half,
    Whole,
}

const LEFT: f64 = 58.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;

impl Plot {
    pub(super) fn write(&self, out: &mut String) {
        let (width, height, class) = match self.size {
            Size::Third => (300.0, 220.0, ""),
            Size::Half => (440.0, 262.0, ""),
            Size::Whole => (900.0, 262.0, "wide"),
        };
        open_figure(out, &self.title, self.note, class);
        self.write_legend(out);
        open_svg(out, &self.title, width, height);
        let x = |value: f64| LEFT + self.x.place(value) * (width - LEFT - RIGHT);
        let y = |value: f64| height - BOTTOM - self.y.place(value) * (height - TOP - BOTTOM);
        for (value, label) in &self.y.ticks {
            let at = y(*value);
            put(
                out,
                format_args!(
                    "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>",
                    width - RIGHT
                ),
            );
            put(
                out,
                format_args!(
                    "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                    LEFT - 7.0,
                    at + 4.0,
                    Text(label)
                ),
            );
        }
        self.write_x_axis(out, &x, width, height);
        if let Some((level, _)) = &self.level {
            let at = y(*level);
            put(
                out,
                format_args!(
                    "<line class=\"offered\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>",
                    width - RIGHT
                ),
            );
        }
        for line in &self.lines {
            write_line(out, line, &x, &y);
        }
        out.push_str("</svg></figure>\n");
    }

    fn write_x_axis(&self, out: &mut String, x: &impl Fn(f64) -> f64, width: f64, height: f64) {
        let bottom = height - BOTTOM;
        // Labels that would touch the one before are left out.
        let mut free_from = f64::NEG_INFINITY;
        for (value, label) in &self.x.ticks {
            let at = x(*value);
            let half = label.chars().count() as f64 * 3.1;
            let middle = at.min(width - half - 1.0);
            let is_free = middle - half >= free_from;
            // Lines that nothing is written at say nothing.
            if !is_free {
                continue;
            }
            put(
                out,
                format_args!(
                    "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\"/>"
                ),
            );
            if !label.is_empty() {
                put(
                    out,
                    format_args!(
                        "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                        height - 9.0,
                        Text(label)
                    ),
                );
                free_from = middle + half + 6.0;
            }
        }
        put(
            out,
            format_args!(
                "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{bottom:.1}\" y2=\"{bottom:.1}\"/>",
                width - RIGHT
            ),
        );
    }

    fn write_legend(&self, out: &mut String) {
        let named = self.lines.iter().filter_map(|line| Some((line, line.name.as_ref()?)));
        let entries: Vec<_> = named.collect();
        if entries.len() + usize::from(self.level.is_some()) < 2 {
            return;
        }
        out.push_str("<div class=\"legend\">");
        for (line, name) in entries {
            let (colour, class) = (colour(line.colour), line.class);
            put(
                out,
                format_args!(
                    "<span><svg viewBox=\"0 0 22 8\" style=\"{colour}\" aria-hidden=\"true\"><path class=\"curve {class}\" d=\"M1 4H21\"/></svg>{}</span>",
                    Text(name)
                ),
            );
        }
        if let Some((_, name)) = &self.level {
            put(
                out,
                format_args!(
                    "<span><svg viewBox=\"0 0 22 8\" aria-hidden=\"true\"><path class=\"offered\" d=\"M1 4H21\"/></svg>{}</span>",
                    Text(name)
                ),
            );
        }
        out.push_str("</div>");
    }
}

fn write_line(out: &mut String, line: &Line, x: &impl Fn(f64) -> f64, y: &impl Fn(f64) -> f64) {
    let style = colour(line.colour);
    if line.band.len() == line.points.len() && line.band.iter().any(|(least, most)| least < most) {
        let there = line.points.iter().zip(&line.band).map(|(point, band)| (point.0, band.1));
        let back = line.points.iter().zip(&line.band).rev().map(|(point, band)| (point.0, band.0));
        let path = path(there.chain(back), x, y);
        put(out, format_args!("<path class=\"band\" style=\"{style}\" d=\"{path}Z\"/>"));
    }
    let path = path(line.points.iter().copied(), x, y);
    put(out, format_args!("<path class=\"curve {}\" style=\"{style}\" d=\"{path}\"/>", line.class));
}

fn path(points: impl Iterator<Item = (f64, f64)>, x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> String {
    let mut path = String::new();
    for (index, point) in points.enumerate() {
        let letter = if index == 0 { 'M' } else { 'L' };
        put(&mut path, format_args!("{letter}{:.1} {:.1}", x(point.0), y(point.1)));
    }
    // One point alone is drawn as a line of no length with round ends.
    if !path.is_empty() && !path.contains('L') {
        path.push_str("h0");
    }
    path
}

/// One bar: its name, colour, length with the ends of its spread, and the text at its end.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) colour: usize,
    pub(super) value: f64,
    pub(super) least: f64,
    pub(super) most: f64,
    pub(super) label: String,
}

/// Bars in groups, each with a title that may be empty.
pub(super) struct Bars<'a> {
    pub(super) title: &'a str,
    pub(super) note: &'a str,
    pub(super) groups: Vec<(String, Vec<Bar>)>,
    /// All of the page's width instead of half of it.
    pub(super) is_wide: bool,
}

const BAR: f64 = 17.0;
const ROW: f64 = 25.0;
const VALUES: f64 = 88.0;
/// What a letter may take.
const LETTER: f64 = 6.4;
/// Longer names are cut.
const NAME_LETTERS: usize = 30;

impl Bars<'_> {
    pub(super) fn write(&self, out: &mut String) {
        let bars = || self.groups.iter().flat_map(|(_, bars)| bars);
        let most = bars().map(|bar| bar.most.max(bar.value)).fold(0.0, f64::max);
        let titles = self.groups.iter().filter(|(title, _)| !title.is_empty()).count() as f64;
        let height = bars().count() as f64 * ROW + titles * 22.0 + self.groups.len() as f64 * 6.0 + 4.0;
        let (width, class) = if self.is_wide { (900.0, "wide") } else { (440.0, "") };
        let letters = bars().map(|bar| bar.name.chars().count()).max().unwrap_or(0);
        let names = letters.clamp(8, NAME_LETTERS) as f64 * LETTER + 10.0;
        open_figure(out, self.title, self.note, class);
        open_svg(out, self.title, width, height);
        let length = |value: f64| {
            let share = if most > 0.0 { value / most } else { 0.0 };
            share.clamp(0.0, 1.0) * (width - names - VALUES)
        };
        let mut y = 2.0;
        for (title, bars) in &self.groups {
            if !title.is_empty() {
                put(
                    out,
                    format_args!(
                        "<text class=\"strong\" x=\"0\" y=\"{:.1}\">{}</text>",
                        y + 15.0,
                        Text(cut(title, 70))
                    ),
                );
                y += 22.0;
            }
            for bar in bars {
                let (style, middle) = (colour(bar.colour), y + ROW / 2.0);
                put(
                    out,
                    format_args!(
                        "<text x=\"0\" y=\"{:.1}\">{}</text>",
                        middle + 4.0,
                        Text(cut(&bar.name, NAME_LETTERS))
                    ),
                );
                put(
                    out,
                    format_args!(
                        "<rect class=\"bar\" style=\"{style}\" x=\"{names:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\"/>",
                        middle - BAR / 2.0,
                        length(bar.value).max(1.0)
                    ),
                );
                let (least, most) = (names + length(bar.least), names + length(bar.most));
                if most > least {
                    let (top, bottom) = (middle - 4.0, middle + 4.0);
                    put(
                        out,
                        format_args!(
                            "<path class=\"whisker\" d=\"M{least:.1} {middle:.1}H{most:.1}M{least:.1} {top:.1}V{bottom:.1}M{most:.1} {top:.1}V{bottom:.1}\"/>"
                        ),
                    );
                }
                let end = names + length(bar.value.max(bar.most)) + 7.0;
                put(
                    out,
                    format_args!(
                        "<text class=\"strong\" x=\"{end:.1}\" y=\"{:.1}\">{}</text>",
                        middle + 4.0,
                        Text(&bar.label)
                    ),
                );
                y += ROW;
            }
            y += 6.0;
        }
        out.push_str("</svg></figure>\n");
    }
}

/// At most so many letters.
fn cut(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters {
        return text.to_owned();
    }
    text.chars().take(letters - 1).chain(['\u{2026}']).collect()
}

fn open_figure(out: &mut String, title: &str, note: &str, class: &str) {
    put(out, format_args!("<figure class=\"{class}\"><figcaption><h3>{}</h3>", Text(title)));
    if !note.is_empty() {
        put(out, format_args!("<p>{}</p>", Text(note)));
    }
    out.push_str("</figcaption>");
}

fn open_svg(out: &mut String, title: &str, width: f64, height: f64) {
    put(
        out,
        format_args!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">", Text(title)),
    );
}

/// Appends to a text.
pub(super) fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("memory takes every text");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).filter(|label| !label.is_empty()).collect()
    }

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        let axis = Axis::linear(87.0, |value| value.to_string());
        assert_eq!(labels(&axis), ["0", "25", "50", "75", "100"]);
        assert_eq!((axis.place(0.0), axis.place(50.0), axis.place(200.0)), (0.0, 0.5, 1.0));
        let axis = Axis::log(3.0, 4000.0, |value| value.to_string());
        assert_eq!(labels(&axis), ["10", "100", "1000"]);
        assert_eq!((axis.from, axis.to), (2.0, 5000.0));
        let axis = Axis::log(30.0, 31.0, |value| value.to_string());
        assert_eq!(labels(&axis), ["20", "50", "100", "200"]);
        assert_eq!(labels(&Axis::nines(3.2)), ["50 %", "90 %", "99 %", "99.9 %"]);
    }

    #[test]
    fn one_point_is_seen() {
        let drawn = |points: &[(f64, f64)]| path(points.iter().copied(), |x| x, |y| y);
        assert_eq!(drawn(&[(1.0, 2.0)]), "M1.0 2.0h0");
        assert_eq!(drawn(&[(1.0, 2.0), (3.0, 4.0)]), "M1.0 2.0L3.0 4.0");
        assert_eq!(drawn(&[]), "");
    }

    #[test]
    fn values_that_no_axis_has_stay_inside() {
        for axis in [Axis::log(0.0, f64::NAN, |_| String::new()), Axis::linear(0.0, |_| String::new())] {
            for value in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
                assert!((0.0..=1.0).contains(&axis.place(value)), "{value}");
            }
        }
    }
}
