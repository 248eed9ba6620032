//! Pages in a real browser, as wide as a telephone and as a desk: nothing is cut off, and nothing lies beside the page. Without Chromium on
//! this machine the tests say that they were skipped.

use crate::command::{Workplace, text};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Widths in pixels of a page's frame.
const WIDTHS: [u32; 2] = [420, 1400];

/// Lists, for each frame, what lies beyond it or beyond its own picture, and so cannot be seen. What stands in something that scrolls can be
/// scrolled to.
const MEASURE: &str = "
const measure = frame => {
  const page = frame.contentDocument, width = page.documentElement.clientWidth, hidden = [];
  const words = element => element.tagName.toLowerCase() + ' ' + element.textContent.trim().slice(0, 40);
  const style = element => frame.contentWindow.getComputedStyle(element);
  const scrolls = element => element && (/auto|scroll/.test(style(element).overflowX) || scrolls(element.parentElement));
  if (page.documentElement.scrollWidth > width) hidden.push('the page scrolls sideways: ' + page.documentElement.scrollWidth);
  for (const element of page.body.querySelectorAll('*')) {
    const place = element.getBoundingClientRect();
    if (place.width === 0 || scrolls(element.parentElement)) continue;
    if (place.left < -1 || place.right > width + 1) hidden.push(words(element) + ' reaches from ' + place.left + ' to ' + place.right);
    const picture = element.tagName === 'text' && element.ownerSVGElement.getBoundingClientRect();
    const beside = picture && (place.left < picture.left - 1 || place.right > picture.right + 1);
    const above = picture && (place.top < picture.top - 1 || place.bottom > picture.bottom + 1);
    if (beside || above) hidden.push(words(element) + ' is cut by its picture');
  }
  return { seen: page.body.querySelectorAll('*').length, hidden };
};
const shown = frame => new Promise(resolve => {
  frame.onload = () => resolve(measure(frame));
  frame.srcdoc = frame.nextElementSibling.value;
});
Promise.all([...document.querySelectorAll('iframe')].map(shown))
  .then(all => { document.querySelector('output').textContent = JSON.stringify(all); });
";

/// What a browser shows of pages, each at its width in pixels: the number of elements, and what is hidden. `None` without a browser.
fn measured(pages: &[(&Path, u32)]) -> Option<Vec<(u64, Vec<String>)>> {
    let folder = tempfile::tempdir().unwrap();
    let frame = |(page, width): &(&Path, u32)| {
        let source = std::fs::read_to_string(page).unwrap().replace('&', "&amp;").replace('<', "&lt;");
        format!("<iframe style='width: {width}px; height: 900px; border: 0'></iframe><textarea>{source}</textarea>")
    };
    let frames: String = pages.iter().map(frame).collect();
    let outer = folder.path().join("outer.html");
    std::fs::write(&outer, format!("<!doctype html><meta charset=utf-8>{frames}<output></output><script>{MEASURE}</script>")).unwrap();
    let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
    let flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", &profile];
    let run = Command::new("chromium").args(flags).args(["--virtual-time-budget=20000", "--dump-dom"]).arg(&outer).output();
    let Ok(run) = run else {
        println!("skipped: chromium is not on this machine");
        return None;
    };
    let dom = String::from_utf8_lossy(&run.stdout);
    let result = dom.rsplit_once("<output>").and_then(|(_, rest)| rest.split_once("</output>")).map(|(result, _)| result);
    let result = result.filter(|result| !result.is_empty()).unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&run.stderr)));
    let result: Value = serde_json::from_str(&result.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")).unwrap();
    let lines = |hidden: &Value| hidden.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect();
    Some(result.as_array().unwrap().iter().map(|page| (page["seen"].as_u64().unwrap(), lines(&page["hidden"]))).collect())
}

/// Holds pages to their promise at every width.
pub fn assert_nothing_is_hidden(pages: &[&Path]) {
    let at_widths: Vec<(&Path, u32)> = pages.iter().flat_map(|page| WIDTHS.map(|width| (*page, width))).collect();
    let measured = measured(&at_widths).into_iter().flatten();
    for ((page, width), (seen, hidden)) in at_widths.iter().zip(measured) {
        assert!(seen > 20, "{}: {seen} elements", page.display());
        assert!(hidden.is_empty(), "{} at {width} pixels: {hidden:#?}", page.display());
    }
}

#[test]
fn pages_hide_nothing_on_a_telephone() {
    let workplace = Workplace::new();
    let pages = [
        ("explain dpo --html {}/explain.html", "explain.html"),
        ("explain softmax --html {}/op.html", "op.html"),
        ("audit --html {}/audit.html", "audit.html"),
        ("gradcheck softmax dpo --html {}/checks.html", "checks.html"),
        ("train --data {}/text.txt --out {}/trained --steps 3 --batch-rows 2 --batch-tokens 16", "trained/report.html"),
        ("sft --model {}/model --data {}/completions.jsonl --out {}/tuned --steps 3", "tuned/report.html"),
        ("align --model {}/model --data {}/preferences.jsonl --eval-data {}/preferences.jsonl --out {}/run --steps 3", "run/report.html"),
    ];
    pages.iter().for_each(|(command, _)| drop(text(&workplace.run(command))));
    let paths = pages.map(|(_, page)| workplace.path(page));
    assert_nothing_is_hidden(&paths.each_ref().map(PathBuf::as_path));
}

/// The measure itself: a word beyond the frame is hidden, and one in a box that scrolls is not.
#[test]
fn what_is_hidden_is_found() {
    let workplace = Workplace::new();
    let words = |style: &str| format!("<p>{}</p><div style='{style}'><pre>{}</pre></div>", "<b>a</b>".repeat(30), "wide ".repeat(100));
    workplace.write("bad.html", &format!("{}<p style='margin-left: -40px'>to the left</p>", words("")));
    workplace.write("good.html", &words("overflow-x: auto"));
    workplace
        .write("cut.html", &format!("{}<svg width='50' height='20'><text x='30' y='15'>a long label</text></svg>", "<i>b</i>".repeat(30)));
    let paths = ["bad.html", "good.html", "cut.html"].map(|page| workplace.path(page));
    let Some(found) = measured(&paths.each_ref().map(|path| (path.as_path(), 420))) else { return };
    let [bad, good, cut] = [0, 1, 2].map(|page| found[page].1.concat());
    assert!(bad.contains("the page scrolls sideways") && bad.contains("p to the left reaches from -"), "{bad}");
    assert_eq!(good, "");
    assert_eq!(cut, "text a long label is cut by its picture");
}
