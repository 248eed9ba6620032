//! Colours, dashes and markers, and the style sheet that adapts them to the screen. A series keeps its style by its name.
//!
//! Plotters writes colours as SVG attributes (`stroke="#0072B2"`). Each colour below is used for one role only. The style sheet can
//! therefore select the attribute and replace it with another colour or a dash. Outside of the page the SVG shows its own colours.

use std::fmt::Write as _;

use plotters::style::RGBColor;

/// Text.
pub(super) const INK: RGBColor = RGBColor(0x1B, 0x1E, 0x23);
/// Axes, tick labels and references.
pub(super) const MUTED: RGBColor = RGBColor(0x5B, 0x64, 0x70);
/// Grid lines.
pub(super) const GRID: RGBColor = RGBColor(0xE2, 0xE6, 0xEA);

/// The bands of a surface, which differ in opacity. This is the palette's first colour, so the palette's rules adapt it.
pub(super) const SHADE: RGBColor = RGBColor(0x00, 0x72, 0xB2);
/// A path over a surface. This is the palette's second colour.
pub(super) const PATH: RGBColor = RGBColor(0xD5, 0x5E, 0x00);

/// Width of a series' line in pixels of the SVG. No other element has this width, so the style sheet can find the lines to dash.
pub(super) const LINE_WIDTH: u32 = 9;
/// Width of a reference's line in pixels of the SVG. No other element has this width.
pub(super) const REFERENCE_WIDTH: u32 = 6;

/// The colours of Okabe and Ito (2008), which colour-blind readers can tell apart. A colour has a lighter form for dark pages if its
/// contrast needs one. Yellow and black are left out, because each vanishes on one of the pages.
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

/// The styles in use.
#[derive(Debug, Default)]
pub struct Styles {
    names: Vec<String>,
}

impl Styles {
    /// Returns the style of the series called `name`: the next free style at its first use, and the same style afterwards.
    pub(super) fn of(&mut self, name: &str) -> Style {
        let index = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        Style { color: key_color(index), marker: MARKERS[index % MARKERS.len()] }
    }
}

/// Returns the colour of the series with this index. In each pass through the palette the blue channel is one greater than in the pass
/// before. Nobody sees this difference, but it tells the style sheet which dash to use.
fn key_color(index: usize) -> RGBColor {
    let (RGBColor(red, green, blue), _) = PALETTE[index % PALETTE.len()];
    let pass = index / PALETTE.len() % CYCLES;
    RGBColor(red, green, blue + pass as u8)
}

fn hex(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// Writes the rules that dash the series' lines and map the charts' colours to the page's, in daylight and in the dark.
pub fn style_sheet() -> String {
    let dark: String = (0..PALETTE.len() * CYCLES).map(|index| rule(key_color(index), PALETTE[index % PALETTE.len()].1)).collect();
    rules() + "@media (prefers-color-scheme: dark) {\n" + &dark + "}\n"
}

/// Writes a rule that shows a colour of the charts as another one.
fn rule(color: RGBColor, shown: &str) -> String {
    let key = hex(color);
    format!("svg [stroke=\"{key}\"] {{ stroke: {shown}; }} svg [fill=\"{key}\"] {{ fill: {shown}; }}\n")
}

/// Writes the rules for daylight.
pub fn rules() -> String {
    let mut css = String::from("svg polyline { stroke-linejoin: round; }\nsvg rect[opacity] { shape-rendering: crispEdges; }\n");
    css += &rule(INK, "var(--ink)");
    css += &rule(MUTED, "var(--muted)");
    css += &rule(GRID, "var(--rule)");
    let _ = writeln!(css, "svg polyline[stroke-width=\"{REFERENCE_WIDTH}\"] {{ stroke-dasharray: 18 12; }}");
    for index in 0..PALETTE.len() * CYCLES {
        let color = key_color(index);
        let pass = index / PALETTE.len();
        let dash = DASHES[(index + pass) % DASHES.len()];
        let _ = writeln!(css, "svg polyline[stroke=\"{}\"][stroke-width=\"{LINE_WIDTH}\"] {{ stroke-dasharray: {dash}; }}", hex(color));
    }
    css
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
