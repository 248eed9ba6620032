//! The words, weights and rewards of the small language.
//!
//! ```text
//! sentence   = prompt completion
//! prompt     = article [adjective] noun
//! completion = clause ( "." | adverb "." | "near the" place "." | conjunction manner adverb "." )
//!            | manner adverb ( "." | conjunction clause "." )
//! clause     = verb article [adjective] noun
//! ```
//! The verb (or manner) that comes first depends on the subject. The object's adjective and noun depend on the deed, which is kind
//! (`greets`, `helps`) or rough (`chases`, `scares`). All rewards are multiples of ¼, so sums and ties are exact.

use super::automaton::{Automaton, State, Token};

/// The vocabulary. The end token is the last word.
pub(super) const WORDS: &[&str] = &[
    "the", "a", "small", "kind", "shy", "fox", "bird", "cat", "child", "greets", "helps", "chases", "scares", "sings", "rests", "gently",
    "loudly", "today", "near", "river", "tree", "and", "but", ".",
];

/// The end token.
pub(super) const END: Token = 23;

/// Returns the token of `word`.
pub(super) fn token(word: &str) -> Option<Token> {
    WORDS.iter().position(|known| *known == word).map(|index| index as Token)
}

/// A word with its relative weight and its reward.
type Choice = (&'static str, f64, f64);

const ARTICLES: [Choice; 2] = [("the", 3.0, 0.0), ("a", 2.0, 0.0)];
const NOUNS: [&str; 4] = ["fox", "bird", "cat", "child"];
const ADVERBS: [Choice; 3] = [("gently", 2.0, 0.5), ("loudly", 3.0, -0.5), ("today", 3.0, 0.0)];
const CONJUNCTIONS: [Choice; 2] = [("and", 3.0, 0.0), ("but", 1.0, 0.0)];
const MANNERS: [Choice; 2] = [("sings", 1.0, 0.25), ("rests", 1.0, 0.0)];
const PLACES: [Choice; 2] = [("river", 1.0, 0.25), ("tree", 1.0, 0.25)];
const END_ONLY: [Choice; 1] = [(".", 1.0, 0.0)];

/// The words of a kind of deed: its verbs, and the adjectives and nouns of its object.
struct Deed {
    verbs: [(&'static str, f64); 2],
    adjectives: [Choice; 3],
    /// Weight of leaving the adjective out, against 1 for having one.
    plain: f64,
    /// Weights of [`NOUNS`] as the object.
    objects: [f64; 4],
}

const KIND: Deed = Deed {
    verbs: [("greets", 1.0), ("helps", 1.0)],
    adjectives: [("small", 2.0, 0.0), ("kind", 1.0, 0.5), ("shy", 2.0, 0.25)],
    plain: 1.0,
    objects: [1.0, 2.0, 1.0, 3.0],
};
const ROUGH: Deed = Deed {
    verbs: [("chases", -1.0), ("scares", -1.5)],
    adjectives: [("small", 3.0, -0.5), ("kind", 1.0, -0.5), ("shy", 1.0, -0.25)],
    plain: 1.5,
    objects: [2.0, 3.0, 3.0, 1.0],
};

/// Weights of `greets`, `helps`, `chases`, `scares`, `sings`, `rests` after a subject, in the order of [`NOUNS`], and after a
/// conjunction (four verbs only).
const FIRST: [[f64; 6]; 4] =
    [[2.0, 1.0, 5.0, 3.0, 1.0, 1.0], [2.0, 1.0, 2.0, 1.0, 5.0, 1.0], [1.0, 1.0, 4.0, 2.0, 1.0, 3.0], [3.0, 3.0, 2.0, 1.0, 2.0, 1.0]];
const SECOND: [f64; 4] = [2.0, 2.0, 3.0, 1.0];

/// Builds the automaton of the language, from the end to the start.
pub(super) fn build() -> Automaton {
    let mut automaton = Automaton::new();
    let closing = add(&mut automaton, &END_ONLY, Automaton::END);
    let (object, second) = (after_object(&mut automaton, closing), closing);
    let first_verbs = clause(&mut automaton, object);
    let second_verbs = clause(&mut automaton, second);
    let manner = after_manner(&mut automaton, second_verbs);
    let subjects = FIRST.map(|weights| {
        let mut arcs = verb_arcs(first_verbs, &weights[..4]);
        arcs.extend(choices(&MANNERS, manner).zip(&weights[4..]).map(|(arc, &weight)| (arc.0, weight, arc.2, arc.3)));
        automaton.add_subject(&arcs)
    });
    let noun_arcs = || NOUNS.iter().zip(subjects).map(|(noun, state)| (known(noun), 1.0, 0.0, state));
    let adjective = automaton.add(&noun_arcs().collect::<Vec<_>>());
    let mut after_article: Vec<_> = noun_arcs().collect();
    after_article.extend(["small", "kind", "shy"].map(|word| (known(word), 1.0, 0.0, adjective)));
    let article = automaton.add(&after_article);
    add(&mut automaton, &ARTICLES, article);
    automaton
}

/// Adds the state after the object of a first clause: end, adverb, place, or a conjunction with a manner.
fn after_object(automaton: &mut Automaton, closing: State) -> State {
    let place = add(automaton, &PLACES, closing);
    let near = automaton.add(&[(known("the"), 1.0, 0.0, place)]);
    let adverb = add(automaton, &ADVERBS, closing);
    let conjunction = add(automaton, &MANNERS, adverb);
    let mut arcs = vec![(END, 5.0, 0.0, Automaton::END), (known("near"), 2.0, 0.0, near)];
    arcs.extend(choices(&ADVERBS, closing).map(|arc| (arc.0, arc.1 / 2.0, arc.2, arc.3)));
    arcs.extend(choices(&CONJUNCTIONS, conjunction));
    automaton.add(&arcs)
}

/// Adds the state after `sings` or `rests` at the head of a completion.
fn after_manner(automaton: &mut Automaton, verbs: [State; 2]) -> State {
    let conjunction = automaton.add(&verb_arcs(verbs, &SECOND));
    let mut arcs = vec![(END, 4.0, 0.0, Automaton::END)];
    arcs.extend(choices(&CONJUNCTIONS, conjunction));
    let adverb = automaton.add(&arcs);
    add(automaton, &ADVERBS, adverb)
}

/// Adds the states after a kind and after a rough verb, whose object leads to `then`.
fn clause(automaton: &mut Automaton, then: State) -> [State; 2] {
    [KIND, ROUGH].map(|deed| {
        let nouns: Vec<_> = NOUNS.iter().zip(deed.objects).map(|(noun, weight)| (known(noun), weight, 0.0, then)).collect();
        let adjective = automaton.add(&nouns);
        let noun_total: f64 = deed.objects.iter().sum();
        let adjective_total: f64 = deed.adjectives.iter().map(|choice| choice.1).sum();
        let mut arcs: Vec<_> = nouns.iter().map(|arc| (arc.0, arc.1 * deed.plain / noun_total, arc.2, arc.3)).collect();
        arcs.extend(choices(&deed.adjectives, adjective).map(|arc| (arc.0, arc.1 / adjective_total, arc.2, arc.3)));
        let article = automaton.add(&arcs);
        add(automaton, &ARTICLES, article)
    })
}

/// Returns arcs for the four verbs, which lead to the states after a kind and a rough verb.
fn verb_arcs(after: [State; 2], weights: &[f64]) -> Vec<(Token, f64, f64, State)> {
    let verbs = [(KIND, after[0]), (ROUGH, after[1])];
    let verbs = verbs.into_iter().flat_map(|(deed, state)| deed.verbs.map(|(word, reward)| (word, reward, state)));
    verbs.zip(weights).map(|((word, reward, state), &weight)| (known(word), weight, reward, state)).collect()
}

/// Adds a state whose words all lead to `to`.
fn add(automaton: &mut Automaton, words: &[Choice], to: State) -> State {
    automaton.add(&choices(words, to).collect::<Vec<_>>())
}

fn choices(words: &[Choice], to: State) -> impl Iterator<Item = (Token, f64, f64, State)> {
    words.iter().map(move |&(word, weight, reward)| (known(word), weight, reward, to))
}

/// Returns the token of a word of this file.
fn known(word: &str) -> Token {
    token(word).unwrap_or_else(|| unreachable!("the grammar uses {word}, which is not in WORDS"))
}
