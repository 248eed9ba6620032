//! Labels beside the plot: breaks them into lines and keeps them apart.

/// Width of an average character in ems. It is an estimate, because plotters has no font to measure with.
const CHARACTER: f64 = 0.56;

/// Breaks `text` at spaces into lines of at most `width` characters. Longer words are broken too.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let mut rest: Vec<char> = word.chars().collect();
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + rest.len() <= width => {
                line.push(' ');
                line.extend(rest);
                continue;
            }
            _ => {}
        }
        while rest.len() > width {
            let tail = rest.split_off(width);
            lines.push(rest.into_iter().collect());
            rest = tail;
        }
        lines.push(rest.into_iter().collect());
    }
    if lines.is_empty() { vec![String::new()] } else { lines }
}

/// Width of a capital relative to other letters.
const CAPITAL: f64 = 1.25;

/// Estimates the width of the longest line, in the unit of `font_size`.
pub(super) fn estimated_width(lines: &[String], font_size: f64) -> f64 {
    let width = |line: &String| line.chars().map(|c| if c.is_uppercase() { CAPITAL } else { 1.0 }).sum::<f64>();
    lines.iter().map(width).fold(0.0, f64::max) * CHARACTER * font_size
}

/// Places boxes, given as (wanted centre, height), in a column from 0 to `length`. They keep their order, do not overlap, and stay close to
/// their wanted centres. Returns the centres. If the boxes do not all fit, they are stacked from 0.
pub(super) fn spread(boxes: &[(f64, f64)], length: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..boxes.len()).collect();
    order.sort_by(|a, b| boxes[*a].0.total_cmp(&boxes[*b].0));
    let mut tops = vec![0.0; boxes.len()];
    let mut free = 0.0;
    for &index in &order {
        let (centre, height) = boxes[index];
        tops[index] = f64::max(free, centre - height / 2.0);
        free = tops[index] + height;
    }
    let mut limit = f64::max(length, boxes.iter().map(|(_, height)| height).sum());
    for &index in order.iter().rev() {
        tops[index] = f64::min(tops[index], limit - boxes[index].1);
        limit = tops[index];
    }
    tops.iter().zip(boxes).map(|(top, (_, height))| top + height / 2.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_at_spaces_and_long_words_where_they_must() {
        assert_eq!(wrapped("entropy of the language", 12), ["entropy of", "the language"]);
        assert_eq!(wrapped("größenwahnsinnig so", 6), ["größen", "wahnsi", "nnig", "so"]);
        assert_eq!(wrapped("", 6), [""]);
    }

    #[test]
    fn boxes_keep_apart_within_the_column() {
        assert_eq!(spread(&[(50.0, 10.0), (20.0, 10.0)], 100.0), [50.0, 20.0], "free boxes stay");
        for boxes in [vec![(99.0, 20.0), (98.0, 20.0), (97.0, 20.0)], vec![(1.0, 30.0), (2.0, 30.0), (1.5, 30.0)]] {
            let centres = spread(&boxes, 100.0);
            let mut spans: Vec<_> = centres.iter().zip(&boxes).map(|(centre, b)| (centre - b.1 / 2.0, centre + b.1 / 2.0)).collect();
            spans.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0 + 1e-9), "{spans:?}");
            assert!(spans[0].0 >= -1e-9 && spans[2].1 <= 100.0 + 1e-9, "{spans:?}");
        }
    }
}
