//! Methods of `str` that change or test the case and the kind of letters.

use crate::chat_template::jinja::unicode::{
    case_folded, continues_name, is_cased, is_decimal, is_digit, is_letter, is_numeric, is_printable, is_space, is_title, title_case,
};

/// Applies the method `name`, one of those that change case.
pub fn changed(text: &str, name: &str) -> String {
    match name {
        "capitalize" => capitalized(text),
        "casefold" => case_folded(text),
        "lower" => text.to_lowercase(),
        "swapcase" => swapped(text),
        "title" => titled(text),
        _ => text.to_uppercase(),
    }
}

/// Converts the first letter to title case and the others to lower case.
pub fn capitalized(text: &str) -> String {
    let Some(first) = text.chars().next() else { return String::new() };
    let mut out = String::with_capacity(text.len());
    title_case(first, &mut out);
    // The whole text goes to lower case at once, because a sigma's form depends on the letters before it.
    let lower = text.to_lowercase();
    let first_lower: usize = first.to_lowercase().map(char::len_utf8).sum();
    out.push_str(&lower[first_lower..]);
    out
}

/// Writes a character in lower case. `rest` is the text after it, which decides the form of a sigma.
fn push_lower(character: char, rest: &str, out: &mut String) {
    match character {
        'Σ' if !rest.chars().next().is_some_and(is_cased) => out.push('ς'),
        other => out.extend(other.to_lowercase()),
    }
}

fn titled(text: &str) -> String {
    let (mut out, mut follows_letter) = (String::with_capacity(text.len()), false);
    for (at, character) in text.char_indices() {
        if follows_letter {
            push_lower(character, &text[at + character.len_utf8()..], &mut out);
        } else {
            title_case(character, &mut out);
        }
        follows_letter = is_cased(character);
    }
    out
}

fn swapped(text: &str) -> String {
    let (mut out, mut follows_letter) = (String::with_capacity(text.len()), false);
    for (at, character) in text.char_indices() {
        if character.is_uppercase() {
            let rest = &text[at + character.len_utf8()..];
            if follows_letter { push_lower(character, rest, &mut out) } else { out.extend(character.to_lowercase()) }
        } else if character.is_lowercase() {
            out.extend(character.to_uppercase());
        } else {
            out.push(character);
        }
        follows_letter = is_cased(character);
    }
    out
}

/// Evaluates the method `name`, whose name begins with "is".
pub fn is_all(text: &str, name: &str) -> bool {
    let all = |is: fn(char) -> bool| !text.is_empty() && text.chars().all(is);
    match name {
        "isalnum" => all(|c| is_letter(c) || is_decimal(c) || is_digit(c) || is_numeric(c)),
        "isalpha" => all(is_letter),
        "isascii" => text.is_ascii(),
        "isdecimal" => all(is_decimal),
        "isdigit" => all(is_digit),
        "isnumeric" => all(is_numeric),
        "isprintable" => text.chars().all(is_printable),
        "isspace" => all(is_space),
        "isidentifier" => is_name(text),
        "islower" => has_only(text, |c| c.is_uppercase() || is_title(c), char::is_lowercase),
        "isupper" => has_only(text, |c| c.is_lowercase() || is_title(c), char::is_uppercase),
        _ => is_titled(text),
    }
}

fn is_name(text: &str) -> bool {
    let mut characters = text.chars();
    let begins = characters.next().is_some_and(|first| first == '_' || (continues_name(first) && first.is_alphabetic()));
    begins && characters.all(continues_name)
}

fn has_only(text: &str, is_other: fn(char) -> bool, is_own: fn(char) -> bool) -> bool {
    !text.chars().any(is_other) && text.chars().any(is_own)
}

fn is_titled(text: &str) -> bool {
    let (mut follows_letter, mut has_letter) = (false, false);
    for character in text.chars() {
        let (begins, goes_on) = (character.is_uppercase() || is_title(character), character.is_lowercase());
        if (begins && follows_letter) || (goes_on && !follows_letter) {
            return false;
        }
        follows_letter = begins || goes_on;
        has_letter |= follows_letter;
    }
    has_letter
}
