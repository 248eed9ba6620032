//! Colours, dashes and markers, which a series keeps by its name, and the style sheet that adapts them to the screen.
//!
//! Plotters writes colours as SVG attributes (`stroke="#0072B2"`). Each colour below is written by one role only, so the style
//! sheet can select the attribute and put another colour, or a dash, in its place; outside the page the SVG shows its own colours.

use std::fmt::Write as _;

use plotters::style::RGBColor;

/// Text.
pub(super) const INK: RGBColor = RGBColor(0x1B, 0x1E, 0x23);
/// Axes, tick labels and references.
pub(super) const MUTED: RGBColor = RGBColor(0x5B, 0x64, 0x70);
/// Grid lines.
pub(super) const GRID: RGBColor = RGBColor(0xE2, 0xE6, 0xEA);

/// The bands of a surface, by their opacity; the palette's first colour, whose rules adapt it.
pub(super) const SHADE: RGBColor = RGBColor(0x00, 0x72, 0xB2);
/// A path over a surface; the palette's second colour.
pub(super) const PATH: RGBColor = RGBColor(0xD5, 0x5E, 0x00);

/// Width of a series' line in pixels of the SVG; no other element has it, so that the style sheet finds what to dash.
pub(super) const LINE_WIDTH: u32 = 9;
/// Width of a reference's line, likewise.
pub(super) const REFERENCE_WIDTH: u32 = 6;

/// The colours of Okabe and Ito (2008), told apart by colour-blind readers, with a lighter form for a dark page where the
/// contrast needs it. Yellow and black are left out: each vanishes on one of the pages.
const PALETTE: [(RGBColor, &str); 6] = [
    (RGBColor(0x00, 0x72, 0xB2), "#4AA8E0"),
    (RGBColor(0xD5, 0x5E, 0x00), "#F08A3C"),
    (RGBColor(0x00, 0x9E, 0x73), "#2BBF95"),
    (RGBColor(0xCC, 0x79, 0xA7), "#DB94BC"),
    (RGBColor(0xE6, 0x9F, 0x00), "#E6A91F"),
    (RGBColor(0x56, 0xB4, 0xE9), "#8CCDF2"),
];

/// Dashes in pixels of the SVG; the first is a solid line.
const DASHES: [&str; 4] = ["none", "32 14", "8 12", "36 12 8 12"];

/// Number of passes through the palette before styles repeat.
const CYCLES: usize = 4;

/// The shape that marks a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    Circle,
    Square,
    Triangle,
    Diamond,
    TriangleDown,
}

const MARKERS: [Marker; 5] = [Marker::Circle, Marker::Square, Marker::Triangle, Marker::Diamond, Marker::TriangleDown];

/// The look of a series. Two series of one page differ in colour or, once colours have run out, in dash and marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    pub color: RGBColor,
    pub marker: Marker,
}

/// The styles given out so far.
#[derive(Debug, Default)]
pub struct Styles {
    names: Vec<String>,
}

impl Styles {
    /// The style of the series called `name`: the next free one at its first use, the same ever after.
    pub(super) fn of(&mut self, name: &str) -> Style {
        let index = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        Style { color: key_color(index), marker: MARKERS[index % MARKERS.len()] }
    }
}

/// The colour of the series with this index. Each pass through the palette has a blue channel one greater than the last, which
/// nobody sees but which names the dash.
fn key_color(index: usize) -> RGBColor {
    let (RGBColor(red, green, blue), _) = PALETTE[index % PALETTE.len()];
    let pass = index / PALETTE.len() % CYCLES;
    RGBColor(red, green, blue + pass as u8)
}

fn hex(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// The rules that dash the series' lines and map the charts' colours to the page's.
pub fn style_sheet() -> String {
    let rule = |color: RGBColor, shown: &str| {
        let key = hex(color);
        format!("svg [stroke=\"{key}\"] {{ stroke: {shown}; }} svg [fill=\"{key}\"] {{ fill: {shown}; }}\n")
    };
    let mut css = String::from("svg polyline { stroke-linejoin: round; }\nsvg rect[opacity] { shape-rendering: crispEdges; }\n");
    css += &rule(INK, "var(--ink)");
    css += &rule(MUTED, "var(--muted)");
    css += &rule(GRID, "var(--rule)");
    let _ = writeln!(css, "svg polyline[stroke-width=\"{REFERENCE_WIDTH}\"] {{ stroke-dasharray: 18 12; }}");
    let mut dark = String::new();
    for index in 0..PALETTE.len() * CYCLES {
        let color = key_color(index);
        let pass = index / PALETTE.len();
        let dash = DASHES[(index + pass) % DASHES.len()];
        let _ = writeln!(css, "svg polyline[stroke=\"{}\"][stroke-width=\"{LINE_WIDTH}\"] {{ stroke-dasharray: {dash}; }}", hex(color));
        dark += &rule(color, PALETTE[index % PALETTE.len()].1);
    }
    css + "@media (prefers-color-scheme: dark) {\n" + &dark + "}\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_style_and_other_names_look_different() {
        let mut styles = Styles::default();
        let first = styles.of("dpo");
        let colors: Vec<String> = (0..20).map(|index| hex(styles.of(&format!("{index}")).color)).collect();
        assert_eq!(styles.of("dpo"), first);
        let mut distinct = colors.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), colors.len());
        assert!(colors.iter().all(|color| style_sheet().contains(color)));
    }
}
