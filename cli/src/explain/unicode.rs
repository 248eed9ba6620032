//! Converts LaTeX to one line of Unicode for a terminal. Supports only the LaTeX that the explanations use.
//!
//! Spaces stay as in the source. Superscripts and subscripts become small characters if Unicode has them all, else `^(…)` and `_(…)`.

use std::iter::Peekable;
use std::str::Chars;

/// Commands that stand for a character, a space or nothing.
const SYMBOLS: &[(&str, &str)] = &[
    ("alpha", "α"),
    ("beta", "β"),
    ("gamma", "γ"),
    ("delta", "δ"),
    ("lambda", "λ"),
    ("varepsilon", "ε"),
    ("theta", "θ"),
    ("mu", "μ"),
    ("pi", "π"),
    ("sigma", "σ"),
    ("varphi", "φ"),
    ("rho", "ρ"),
    ("omega", "ω"),
    ("ell", "ℓ"),
    ("Phi", "Φ"),
    ("partial", "∂"),
    ("infty", "∞"),
    ("sum", "Σ"),
    ("cdot", "·"),
    ("lceil", "⌈"),
    ("rceil", "⌉"),
    ("times", "×"),
    ("odot", "∘"),
    ("pm", "±"),
    ("mp", "∓"),
    ("le", "≤"),
    ("ge", "≥"),
    ("ne", "≠"),
    ("approx", "≈"),
    ("to", "→"),
    ("leftarrow", "←"),
    ("in", "∈"),
    ("notin", "∉"),
    ("propto", "∝"),
    ("succ", "≻"),
    ("top", "⊤"),
    ("mid", "|"),
    ("dots", "…"),
    ("{", "{"),
    ("}", "}"),
    ("|", "‖"),
    (",", ""),
    (";", " "),
    ("quad", "\u{2003}"),
    ("qquad", "\u{2003}"),
    ("left", ""),
    ("right", ""),
    ("bigl", ""),
    ("bigr", ""),
    ("Bigl", ""),
    ("Bigr", ""),
];

/// Function names. They need a space before a letter.
const FUNCTIONS: &[&str] = &["ln", "max", "min", "cos", "sin", "tanh", "exp"];

const SUPERSCRIPTS: &[(char, char)] = &[
    ('0', '⁰'),
    ('1', '¹'),
    ('2', '²'),
    ('3', '³'),
    ('4', '⁴'),
    ('5', '⁵'),
    ('6', '⁶'),
    ('7', '⁷'),
    ('8', '⁸'),
    ('9', '⁹'),
    ('+', '⁺'),
    ('−', '⁻'),
    ('⊤', 'ᵀ'),
    ('*', '*'),
    ('x', 'ˣ'),
    ('p', 'ᵖ'),
    ('u', 'ᵘ'),
    ('v', 'ᵛ'),
    ('s', 'ˢ'),
    ('m', 'ᵐ'),
];

const SUBSCRIPTS: &[(char, char)] = &[
    ('0', '₀'),
    ('1', '₁'),
    ('2', '₂'),
    ('3', '₃'),
    ('4', '₄'),
    ('5', '₅'),
    ('6', '₆'),
    ('7', '₇'),
    ('8', '₈'),
    ('9', '₉'),
    ('i', 'ᵢ'),
    ('j', 'ⱼ'),
    ('k', 'ₖ'),
    ('n', 'ₙ'),
];

/// Placeholder for a space that is not collapsed.
const WIDE: char = '\u{2003}';
/// The combining overline, after the letter that it covers.
const OVERLINE: char = '\u{304}';
/// The combining circumflex, after the letter that it covers.
const CIRCUMFLEX: char = '\u{302}';
/// The combining tilde, after the letter that it covers.
const TILDE: char = '\u{303}';

/// Converts LaTeX to one line for a terminal. An unknown command stays unchanged, with its backslash.
pub fn unicode(latex: &str) -> String {
    let text = Reader { rest: latex.chars().peekable() }.until(None);
    text.split_whitespace_keeping_wide().replace(WIDE, "   ").replace("∂ ", "∂")
}

trait Collapse {
    fn split_whitespace_keeping_wide(&self) -> String;
}

impl Collapse for str {
    fn split_whitespace_keeping_wide(&self) -> String {
        let words = |part: &str| part.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        self.split(WIDE).map(words).collect::<Vec<_>>().join(&WIDE.to_string())
    }
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Reader<'_> {
    /// Converts the source up to `end`, and skips `end`.
    fn until(&mut self, end: Option<char>) -> String {
        let mut out = String::new();
        while let Some(c) = self.rest.next() {
            if Some(c) == end {
                break;
            }
            self.one(c, &mut out);
        }
        out
    }

    fn one(&mut self, c: char, out: &mut String) {
        match c {
            '\\' => self.command(out),
            '{' => out.push_str(&self.until(Some('}'))),
            '^' => {
                let raised = self.argument();
                out.push_str(&script(&raised, SUPERSCRIPTS, '^'));
            }
            '_' => {
                let lowered = self.argument();
                out.push_str(&script(&lowered, SUBSCRIPTS, '_'));
            }
            '-' => out.push('−'),
            '\'' => out.push('′'),
            _ => out.push(c),
        }
    }

    /// Converts the next group, command or character.
    fn argument(&mut self) -> String {
        while self.rest.next_if(|c| c.is_whitespace()).is_some() {}
        let mut out = String::new();
        if let Some(c) = self.rest.next() {
            self.one(c, &mut out);
        }
        out.trim().to_owned()
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(letter) = self.rest.next_if(char::is_ascii_alphabetic) {
            name.push(letter);
        }
        if name.is_empty() { self.rest.next().map(String::from).unwrap_or_default() } else { name }
    }

    /// Reads a group's characters unchanged.
    fn verbatim(&mut self) -> String {
        self.rest.next_if_eq(&'{');
        self.rest.by_ref().take_while(|&c| c != '}').collect()
    }

    fn command(&mut self, out: &mut String) {
        let name = self.name();
        match name.as_str() {
            "frac" | "tfrac" => {
                let (above, below) = (self.argument(), self.argument());
                out.push_str(&format!("{}/{}", grouped(&above), grouped(&below)));
            }
            "sqrt" => {
                let root = self.argument();
                out.push_str(&format!("√{}", grouped(&root)));
            }
            "bar" | "hat" | "tilde" => {
                let letter = self.argument();
                out.push_str(&letter);
                out.push(match name.as_str() {
                    "bar" => OVERLINE,
                    "hat" => CIRCUMFLEX,
                    _ => TILDE,
                });
            }
            "text" | "mathrm" => out.push_str(&self.verbatim()),
            "mathbb" => out.push_str(&self.verbatim().replace('E', "𝔼")),
            "begin" => {
                let environment = self.verbatim();
                out.push_str(&self.environment(&environment));
            }
            _ if FUNCTIONS.contains(&name.as_str()) => {
                out.push_str(&name);
                if self.rest.peek().is_some_and(|&c| c == '\\' || c.is_alphanumeric()) {
                    out.push(' ');
                }
            }
            _ => match SYMBOLS.iter().find(|(command, _)| *command == name) {
                Some((_, symbol)) => out.push_str(symbol),
                None => out.extend(["\\", &name]),
            },
        }
    }

    /// Writes `cases` as `{ value if condition; … }`, and a matrix as `[a, b; c, d]`.
    fn environment(&mut self, name: &str) -> String {
        let mut rows = vec![vec![String::new()]];
        while let Some(c) = self.rest.next() {
            let row = rows.last_mut().expect("there is always a row");
            let cell = row.last_mut().expect("a row always has a cell");
            if c == '&' {
                row.push(String::new());
            } else if c == '\\' && self.rest.next_if_eq(&'\\').is_some() {
                rows.push(vec![String::new()]);
            } else if c == '\\' && self.ends() {
                break;
            } else {
                self.one(c, cell);
            }
        }
        let cells = rows.iter().map(|row| row.iter().map(|cell| cell.trim()).collect::<Vec<_>>());
        if name != "cases" {
            return format!("[{}]", cells.map(|row| row.join(", ")).collect::<Vec<_>>().join("; "));
        }
        let case = |row: Vec<&str>| {
            let condition = row.get(1).copied().unwrap_or_default();
            let word = if condition.starts_with(|c: char| c.is_ascii_alphabetic()) && !condition.contains(['=', '>', '<', '≤', '≥']) {
                " "
            } else {
                " if "
            };
            format!("{}{word}{condition}", row[0])
        };
        format!("{{ {} }}", cells.map(case).collect::<Vec<_>>().join("; "))
    }

    /// Skips `end{…}` if it comes next.
    fn ends(&mut self) -> bool {
        let mut ahead = self.rest.clone();
        if !"end{".chars().all(|c| ahead.next() == Some(c)) {
            return false;
        }
        let _name: String = ahead.by_ref().take_while(|&c| c != '}').collect();
        self.rest = ahead;
        true
    }
}

/// Puts `text` in parentheses if it has an operator or a space outside of its own parentheses.
fn grouped(text: &str) -> String {
    let mut depth = 0;
    let split = |c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0 && [' ', '−', '+', '/', '·', WIDE].contains(&c)
    };
    if !text.chars().any(split) { text.to_owned() } else { format!("({text})") }
}

/// True if the first parenthesis closes at the end of the text.
fn whole(text: &str) -> bool {
    let mut depth = 0;
    let closes = text.char_indices().find(|&(_, c)| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0
    });
    text.starts_with('(') && closes.is_some_and(|(at, _)| at + 1 == text.len())
}

fn script(text: &str, table: &[(char, char)], mark: char) -> String {
    let small: Option<String> =
        text.chars().filter(|c| *c != ' ').map(|c| table.iter().find(|(own, _)| *own == c).map(|(_, small)| *small)).collect();
    match small {
        Some(small) => small,
        None if text.chars().count() == 1 || text.chars().all(char::is_alphanumeric) || whole(text) => format!("{mark}{text}"),
        None => format!("{mark}({text})"),
    }
}

#[cfg(test)]
mod tests {
    use super::unicode;

    #[test]
    fn formulas_read_on_one_line() {
        let cases = [
            (r"y_i = \frac{e^{x_i - m}}{\sum_j e^{x_j - m}}, \quad m = \max_j x_j", "yᵢ = e^(xᵢ − m)/(Σⱼ e^(xⱼ − m)),   m = maxⱼ xⱼ"),
            (r"\bar x = y (1 - y) \, \bar y", "x\u{304} = y (1 − y) y\u{304}"),
            (r"\tilde l = l", "l\u{303} = l"),
            (r"\bar A = \bar Y B^\top", "A\u{304} = Y\u{304} Bᵀ"),
            (r"p \, x^{p-1}", "p xᵖ⁻¹"),
            (r"\begin{cases} \bar y & x > 0 \\ 0 & \text{otherwise} \end{cases}", "{ y\u{304} if x > 0; 0 otherwise }"),
            (r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}", "[a, b; c, d]"),
            (r"\sum_{v \notin \{w, l\}} e^{z_v}", "Σ_(v ∉ {w, l}) e^(z_v)"),
            (r"\sqrt{\frac{2}{\pi}} \, \cos\varphi", "√(2/π) cos φ"),
        ];
        for (latex, text) in cases {
            assert_eq!(unicode(latex), text, "{latex}");
        }
    }

    #[test]
    fn every_formula_of_every_explanation_is_read_to_the_end() {
        use engine::explain::Piece;
        for explanation in crate::explain::all() {
            let steps = explanation.derivation().into_iter().flatten().filter_map(|piece| match piece {
                Piece::Inline(latex) | Piece::Display(latex) => Some(latex),
                Piece::Text(_) => None,
            });
            for latex in explanation.formulas().into_iter().chain(steps) {
                let text = unicode(latex);
                assert!(
                    !text.contains(['\\', '{']) || latex.contains(r"\{") || latex.contains("cases"),
                    "{}: {latex}: {text}",
                    explanation.name
                );
                assert!(!text.contains('\\'), "{}: {latex}: {text}", explanation.name);
            }
        }
    }
}
