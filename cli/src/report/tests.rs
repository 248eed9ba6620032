//! What a page promises, and a page with realistic data to look at.

use std::fs;

use super::chart::{BarChart, XyChart};
use super::*;

/// A page with every kind of block and chart.
fn example() -> Report {
    let noise = |i: u32, salt: u32| {
        let mixed = (i.wrapping_mul(2_654_435_761) ^ salt.wrapping_mul(40_503)).wrapping_mul(2_246_822_519);
        f64::from(mixed >> 8) / f64::from(1u32 << 24) - 0.5
    };
    let curve = |floor: f64, rate: f64, wobble: f64, salt: u32| -> Vec<(f64, f64)> {
        let value = |i: u32| floor + 1.9 * (-f64::from(i) / rate).exp() + wobble * noise(i, salt);
        (1..=1500).map(|i| (f64::from(i), value(i))).collect()
    };
    let rising = |end: f64, rate: f64, drop: f64, salt: u32| -> Vec<(f64, f64)> {
        let value = |t: f64| -0.2 + (end + 0.2) * (1.0 - (-t / rate).exp()) - drop * t / 300.0;
        (0..=60).map(|i| (f64::from(i) * 5.0, value(f64::from(i) * 5.0) + 0.05 * noise(i, salt))).collect()
    };
    let frontier: Vec<(f64, f64)> = (0..=40).map(|i| f64::from(i) * 0.08).map(|kl| (kl, 1.92 * (1.0 - (-kl * 1.3).exp()) - 0.2)).collect();
    Report::new("Four ways to align a small model")
        .lead("A micro decoder was pretrained on a generated language and aligned to its reward by four losses. The exact optimum is known, so every number below has a bound to be held against.")
        .key_values([
            ("parameters", "1,048,576"),
            ("pretraining steps", "1,500"),
            ("preference pairs", "4,096"),
            ("β", "0.3"),
            ("seed", "0"),
            ("device", "cpu, 2 threads"),
        ])
        .section("Pretraining")
        .paragraph("The loss per token falls towards the language's entropy, which no model can beat.")
        .figure(
            "Loss while pretraining",
            "Look for the gap between the smoothed line and the dashed bound at the right edge: it is what the model has still to learn.",
            XyChart::new("step", "loss (nats per token)")
                .smoothed_line("training", curve(1.24, 210.0, 0.16, 1), 50)
                .line("validation", curve(1.26, 230.0, 0.0, 2).into_iter().step_by(50).collect::<Vec<_>>())
                .reference("entropy of the language, 1.22", 1.2203),
        )
        .section("Alignment")
        .table(
            Table::new([("loss", Align::Left), ("reward", Align::Right), ("KL (nats)", Align::Right), ("grammatical", Align::Right), ("objective", Align::Right)])
                .caption("After 300 steps, mean over 8,192 samples")
                .row(["reference", "−0.20", "0.00", "99.6 %", "−0.20"])
                .row(["dpo", "1.31", "2.10", "97.1 %", "0.68"])
                .row(["slpo", "0.92", "0.61", "99.2 %", "0.74"])
                .row(["slpo-exact", "1.18", "0.92", "99.5 %", "0.90"])
                .highlight(4)
                .row(["slpo-gkl", "1.42", "2.85", "95.4 %", "0.57"])
                .row(["optimum", "1.61", "1.81", "100 %", "1.07"]),
        )
        .figure(
            "Expected reward during alignment",
            "A line that rises and then falls has left the region that the pairs describe.",
            XyChart::new("step", "expected reward (points)")
                .line("dpo", rising(1.75, 40.0, 0.4, 3))
                .line("slpo", rising(0.95, 90.0, 0.0, 4))
                .line("slpo-exact", rising(1.2, 70.0, 0.0, 5))
                .line("slpo-gkl", rising(1.6, 30.0, 0.15, 6))
                .reference("optimum at β = 0.3", 1.6147)
                .reference("reference model", -0.197),
        )
        .figure(
            "Reward against divergence",
            "Higher is better, further left is cheaper. No policy can lie above the curve, the exact optimum over all β.",
            XyChart::new("KL from the reference (nats per completion)", "expected reward (points)")
                .line("best possible", frontier)
                .points("dpo", [(0.4, 0.31), (1.1, 0.94), (2.1, 1.31), (2.9, 1.2)])
                .points("slpo", [(0.2, 0.2), (0.61, 0.62)])
                .points("slpo-exact", [(0.3, 0.35), (0.92, 1.05)])
                .points("slpo-gkl", [(1.0, 0.8), (2.85, 1.42)]),
        )
        .figure(
            "Final reward",
            "Whiskers are 95 % confidence intervals over prompts.",
            BarChart::new("expected reward (points)")
                .bar_with_error("reference model", -0.197, 0.03)
                .bar_with_error("dpo", 1.31, 0.06)
                .bar_with_error("slpo", 0.92, 0.04)
                .bar_with_error("slpo-exact", 1.18, 0.03)
                .bar_with_error("slpo-gkl", 1.42, 0.11)
                .reference("optimum at β = 0.3, 1.61", 1.6147)
                .reference("best completion, 2.25", 2.25),
        )
        .figure(
            "Gradient norm",
            "The axis is logarithmic; the gap is where the norm was not finite.",
            XyChart::new("step", "gradient norm").log_y().smoothed_line(
                "training",
                (1..=400)
                    .map(|i| (f64::from(i), if (200..215).contains(&i) { f64::NAN } else { 30.0 * (-f64::from(i) / 60.0).exp() * (1.5 + noise(i, 9)) + 0.02 }))
                    .collect::<Vec<_>>(),
                15,
            ),
        )
        .section("Samples")
        .preformatted("the fox │ greets a kind bird .\na shy child │ rests gently and helps the small cat .")
}

#[test]
fn the_example_is_written_for_looking_at_where_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = match std::env::var_os("SLPO_EXAMPLE_REPORT") {
        Some(path) => PathBuf::from(path),
        None => folder.path().join("new/folder/report.html"),
    };
    example().write(&path).unwrap();
    let page = fs::read_to_string(&path).unwrap();
    assert_eq!(page.matches("<svg role=\"img\"").count(), 2 * 5, "one for wide screens and one for narrow ones");
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    assert_eq!(page, example().render().unwrap(), "the same report gives the same bytes");
}

#[test]
fn the_page_needs_nothing_from_outside() {
    let page = example().render().unwrap();
    let without_namespace = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for outside in ["http", "src=", "href=", "<script", "@import", "url("] {
        assert!(!without_namespace.contains(outside), "{outside}");
    }
}

#[test]
fn every_text_is_escaped() {
    let evil = "<img src=x onerror='alert(1)'>&\"";
    let line = XyChart::new(evil, evil).line(evil, [(0.0, 1.0), (1.0, 2.0)]).reference(evil, 1.5);
    let page = Report::new(evil)
        .lead(evil)
        .section(evil)
        .paragraph(evil)
        .preformatted(evil)
        .key_values([(evil, evil)])
        .table(Table::new([(evil, Align::Left)]).caption(evil).row([evil]))
        .figure(evil, evil, line)
        .figure(evil, evil, BarChart::new(evil).bar(evil, 1.0).reference(evil, 1.0))
        .render()
        .unwrap();
    assert!(!page.contains("<img"));
    assert!(!page.contains("onerror='"), "quotes are escaped too");
    assert!(page.matches("&lt;img").count() >= 20);
}

#[test]
fn values_that_are_not_finite_leave_gaps() {
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let points = [(nan, 1.0), (0.0, 1.0), (1.0, 2.0), (2.0, nan), (3.0, inf), (4.0, 1.0), (5.0, -inf), (inf, 1.0)];
    let lines = XyChart::new("x", "y").line("a", points).smoothed_line("b", points, 3).points("c", points);
    let page = Report::new("gaps")
        .figure("lines", "", lines.clone().reference("no such place", nan))
        .figure("log", "", lines.log_y().reference("not positive", -1.0))
        .figure("bars", "", BarChart::new("x").bar("a", nan).bar_with_error("b", 1.0, inf).bar("c", -inf))
        .render()
        .unwrap();
    assert_eq!(page.matches("<svg").count(), 2 * 3);
    let drawn: String = page.split("<svg").skip(1).collect();
    assert!(!drawn.contains("-2147483648") && !drawn.contains("2147483647"), "no coordinate has overflowed");
    assert!(drawn.contains("NaN"), "the bar's value is written");
}

#[test]
fn a_chart_without_a_finite_value_says_so() {
    let empty = [
        Chart::from(XyChart::new("x", "y")),
        XyChart::new("x", "y").line("a", [(0.0, f64::NAN)]).reference("r", 1.0).into(),
        XyChart::new("x", "y").log_y().line("a", [(0.0, 0.0), (1.0, -1.0)]).into(),
        BarChart::new("x").into(),
        BarChart::new("x").bar("a", f64::NAN).reference("r", 1.0).into(),
    ];
    for chart in empty {
        let page = Report::new("nothing").figure("f", "", chart).render().unwrap();
        assert!(page.contains("There is nothing to draw: no value is finite."));
    }
}

#[test]
fn extreme_values_are_drawn() {
    let charts = [
        XyChart::new("x", "y").line("constant", [(0.0, 3.0), (1.0, 3.0)]),
        XyChart::new("x", "y").points("single", [(7.0, 0.0)]),
        XyChart::new("x", "y").line("huge", [(0.0, -1e308), (1.0, 1e299), (2.0, -1e299)]),
        XyChart::new("x", "y").line("tiny", [(0.0, 1e-310), (1.0, 5e-308)]),
        XyChart::new("x", "y").log_y().line("wide", [(0.0, 1e-300), (1.0, 1e300)]),
        XyChart::new("x", "y").log_x().line("wide across, with a point that has no place", [(0.0, 1.0), (1e-300, 1.0), (1e300, 2.0)]),
    ];
    for chart in charts {
        let page = Report::new("extremes").figure("f", "", chart).render().unwrap();
        assert_eq!(page.matches("<svg").count(), 2);
    }
}

#[test]
fn a_report_that_cannot_be_written_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("file");
    fs::write(&blocked, "").unwrap();
    let error = Report::new("x").write(blocked.join("report.html")).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot write the report {}", blocked.display())), "{error}");
}

#[test]
#[should_panic(expected = "a row of 1 cells in a table of 2 columns")]
fn a_short_row_is_refused() {
    let _ = Table::new([("a", Align::Left), ("b", Align::Right)]).row(["1"]);
}

#[test]
fn only_a_page_with_a_formula_carries_the_font() {
    let card = |latex: &str| Card {
        id: "A1".to_owned(),
        heading: "A claim".to_owned(),
        latex: latex.to_owned(),
        tone: Tone::Holds,
        verdict: "true".to_owned(),
        evidence: String::new(),
        computed: String::new(),
        rows: Vec::new(),
        file: String::new(),
        function: String::new(),
    };
    let has_font = |report: Report| report.render().unwrap().contains("@font-face");
    assert!(has_font(Report::new("a card").card(card(r"\frac{1}{\sqrt{D}}"))));
    assert!(has_font(Report::new("a fragment").fragment("<p><math><mi>x</mi></math></p>")));
    assert!(!has_font(Report::new("no formula").card(card("")).fragment("<p>x</p>")));
    assert!(!has_font(example()));
}

#[test]
fn every_chart_scales_to_its_column() {
    let page = example().render().unwrap();
    for svg in page.split("<svg ").skip(1) {
        let tag = svg.split('>').next().unwrap();
        assert!(tag.contains("viewBox=") && !tag.contains(" width=") && !tag.contains(" height="), "{tag}");
    }
    for screen in ["wide", "narrow"] {
        assert_eq!(page.matches(&format!("<svg role=\"img\" class=\"{screen}\"")).count(), 5);
    }
    assert!(!page.contains("min-width: 38rem") && !page.contains("<div class=\"scroll\" tabindex=\"0\"><svg"));
}

#[test]
fn names_and_axes_stay_inside_both_drawings() {
    let page = example().render().unwrap();
    let number = |tag: &str, name: &str| -> f64 {
        let value = tag.split(&format!(" {name}=\"")).nth(1).unwrap();
        value.split('"').next().unwrap().parse().unwrap()
    };
    for svg in page.split("<svg ").skip(1) {
        let size = svg.split("viewBox=\"0 0 ").nth(1).unwrap().split('"').next().unwrap();
        let (width, height) = size.split_once(' ').unwrap();
        let (width, height): (f64, f64) = (width.parse().unwrap(), height.parse().unwrap());
        let drawing = svg.split("</svg>").next().unwrap();
        for text in drawing.split("<text ").skip(1) {
            let tag = format!(" {}", text.split('>').next().unwrap());
            let (x, y) = (number(&tag, "x"), number(&tag, "y"));
            assert!((0.0..=width).contains(&x) && (0.0..=height).contains(&y), "{text}");
        }
    }
}
