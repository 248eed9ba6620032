//! The explanations in groups, a path through them for somebody who begins, and what a misspelt name may mean.

use losses::{Hyperparameters, Kind, Loss, Need};

/// A path: each needs only those before it.
pub const PATH: [&str; 14] = [
    "mul",
    "exp",
    "tanh",
    "sum",
    "matmul",
    "linear",
    "softmax",
    "cross_entropy",
    "rms_norm",
    "attention",
    "nll",
    "dpo",
    "slpo",
    "slpo-gkl",
];

/// The ops by what they are for.
const OPS: [(&str, &[&str]); 6] = [
    ("Arithmetic", &["add", "sub", "mul", "div", "neg", "scale"]),
    (
        "Functions of one number",
        &["exp", "ln", "sqrt", "powf", "tanh", "sigmoid", "log_sigmoid", "softplus", "log1mexp", "silu", "gelu", "relu"],
    ),
    (
        "Shapes, sums, rows",
        &[
            "reshape",
            "permute",
            "slice",
            "concat",
            "broadcast",
            "sum",
            "mean",
            "max",
            "embedding",
            "gather",
            "scatter_add",
            "scatter_add_rows",
        ],
    ),
    ("Layers", &["matmul", "linear", "linears", "swiglu", "gated_mlp", "layer_norm", "rms_norm", "rope", "attention", "dropout"]),
    (
        "Probabilities",
        &["softmax", "log_softmax", "logsumexp", "cross_entropy", "linear_log_prob", "linear_cross_entropy", "soft-cross-entropy"],
    ),
    ("The tape", &["detach", "checkpoint"]),
];

/// The groups, in the order in which they are listed.
pub fn groups() -> impl Iterator<Item = &'static str> {
    let losses = ["Losses with a reference", "Losses without a reference", "Losses of batches, rows and tokens"];
    OPS.iter().map(|(group, _)| *group).chain(losses)
}

/// Returns the group of an op or a loss.
pub fn group_of(name: &str) -> &'static str {
    if let Some((group, _)) = OPS.iter().find(|(_, ops)| ops.contains(&name)) {
        return group;
    }
    let has_reference = |loss: Loss| loss.needs(Need::Reference, &Hyperparameters::default());
    match name.parse::<Loss>() {
        Ok(loss) if loss.kind() != Kind::Pairwise => "Losses of batches, rows and tokens",
        Ok(loss) if has_reference(loss) => "Losses with a reference",
        _ => "Losses without a reference",
    }
}

/// Returns the name that was meant: the same letters whatever their case and with `-` or `_`, or a loss under another of its names.
pub fn meant<'a>(known: &[&'a str], name: &str) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace('_', "-");
    let same = known.iter().find(|known| plain(known) == plain(name));
    same.or_else(|| {
        let loss = name.parse::<Loss>().ok()?;
        known.iter().find(|known| **known == loss.name())
    })
    .copied()
}

/// Returns the most similar name, if one is similar enough to be a slip.
pub fn nearest<'a>(known: &[&'a str], name: &str) -> Option<&'a str> {
    let name = name.to_lowercase();
    let scored = known.iter().map(|known| (strsim::jaro_winkler(&name, known), *known));
    scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::all;
    use std::collections::BTreeSet;

    #[test]
    fn every_explanation_is_in_one_group_and_every_group_has_some() {
        let names: BTreeSet<&str> = all().iter().map(|explanation| explanation.name).collect();
        let listed: Vec<&str> = OPS.iter().flat_map(|(_, ops)| ops.iter().copied()).collect();
        assert!(listed.iter().all(|name| names.contains(name)), "an op that is not explained: {listed:?}");
        assert_eq!(listed.iter().collect::<BTreeSet<_>>().len(), listed.len(), "an op in two groups");
        for op in engine::ops::registry() {
            assert!(listed.contains(&op.name), "{} is in no group", op.name);
        }
        let used: BTreeSet<&str> = names.iter().map(|name| group_of(name)).collect();
        assert_eq!(used, groups().collect());
        assert!(PATH.iter().all(|name| names.contains(name)));
    }

    #[test]
    fn names_are_understood_in_any_case_and_slips_are_recognised() {
        let known = ["softmax", "log_softmax", "dpo", "slpo-gkl", "add"];
        for (name, expected) in
            [("DPO", Some("dpo")), ("Log-Softmax", Some("log_softmax")), ("slpo_gkl", Some("slpo-gkl")), ("sigmoid-loss", None)]
        {
            assert_eq!(meant(&known, name), expected, "{name}");
        }
        assert_eq!(nearest(&known, "sofmax"), Some("softmax"));
        assert_eq!(nearest(&known, "Slpo-gkll"), Some("slpo-gkl"));
        assert_eq!(nearest(&known, "zebra"), None);
    }
}
