//! The audit: every claim is there once, its verdict does not depend on the seed, and a wrong prediction does not pass.

use losses::audit::{Claim, audit};

const IDS: [&str; 43] = [
    "E1", "E2", "E3", "E4", "E5", "A1", "K1", "K2a", "K2b", "K3a", "K3b", "K4a", "K4b", "B1", "B2", "B3", "P1", "S1", "S2", "S3", "S4",
    "S5", "S6", "S7", "I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "C1", "G1", "R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9",
];

#[test]
fn every_claim_is_there_exactly_once() {
    let found: Vec<&str> = audit(3).iter().map(|claim| claim.id).collect();
    assert_eq!(found, IDS);
}

#[test]
fn on_every_seed_the_computation_agrees_and_the_verdict_is_the_same() {
    let first = audit(0);
    for seed in 0..20 {
        for (claim, first) in audit(seed).iter().zip(&first) {
            for check in &claim.checks {
                assert!(check.agrees(), "seed {seed}, {}: {check:?}\n{}", claim.id, claim.evidence);
            }
            assert_eq!((claim.holds, &claim.verdict), (first.holds, &first.verdict), "seed {seed}, {}: {}", claim.id, claim.evidence);
        }
    }
}

#[test]
fn another_seed_draws_another_instance() {
    let same = audit(1).iter().zip(&audit(2)).filter(|(a, b)| a.evidence == b.evidence).map(|(a, _)| a.id).collect::<Vec<_>>();
    assert!(same.is_empty(), "{same:?}");
    assert_eq!(audit(1), audit(1));
}

/// A prediction that is off by a thousandth of its size, or by 1e-4 where it is 0, is caught, unless theory itself bounds it less closely.
#[test]
fn a_wrong_prediction_is_caught() {
    for claim in audit(5) {
        for check in &claim.checks {
            let size = if check.expected == 0.0 { 0.1 } else { check.expected.abs() };
            let shift = (1e-3 * size).max(2.1 * check.tolerance);
            let mut wrong = check.clone();
            wrong.expected += shift;
            assert!(!wrong.agrees(), "{}: {wrong:?}", claim.id);
            assert!(check.tolerance < 0.2 * size, "{}: a tolerance that lets anything pass: {check:?}", claim.id);
        }
    }
}

fn named<'a>(claims: &'a [Claim], id: &str) -> &'a Claim {
    claims.iter().find(|claim| claim.id == id).unwrap()
}

/// The value of the check whose words begin with these.
fn value(claim: &Claim, what: &str) -> f64 {
    claim.checks.iter().find(|check| check.what.starts_with(what)).unwrap_or_else(|| panic!("{}: no {what}", claim.id)).value
}

#[test]
fn of_the_revision_four_claims_hold() {
    let claims = audit(4);
    let revision: Vec<_> = claims.iter().filter(|claim| claim.id.starts_with('R')).collect();
    assert_eq!(revision.iter().filter(|claim| claim.holds).map(|claim| claim.id).collect::<Vec<_>>(), ["R1", "R2", "R4", "R5"]);
    for claim in revision {
        assert_eq!(claim.verdict.starts_with("true"), claim.holds, "{}: {}", claim.id, claim.verdict);
        assert!(claim.claim.starts_with("Revision"), "{}", claim.claim);
    }
}

/// The expected slopes, at ln π_ref = (−83, −85) and α = ½, come from (P − Q)/(4T(1 − π)) in decimal arithmetic of 60 digits.
#[test]
fn the_revisions_start_gradient_needs_the_temperature() {
    let claims = audit(6);
    let start = named(&claims, "R5");
    for (what, expected) in [
        ("∂L/∂l_w at T = 1", -1.520124e-38),
        ("∂L/∂l_l at T = 1", 1.520124e-38),
        ("∂L/∂l_w at T = 20", -6.262480e-7),
        ("∂L/∂l_l at T = 20", 5.906848e-6),
    ] {
        assert!((value(start, what) / expected - 1.0).abs() < 1e-6, "{what}: {}", value(start, what));
    }
    assert_eq!((value(start, "does a weight of 1"), value(start, "does it move at T = 20")), (0.0, 1.0));
}

#[test]
fn the_revisions_pairs_have_unequal_weight() {
    let claims = audit(6);
    let weight = named(&claims, "R6");
    assert!((value(weight, "loser's slope over winner's") - 9.4321).abs() < 1e-4, "5.906848e-6/6.262480e-7");
    assert!((value(weight, "the same at α = 1") - 144.59).abs() < 0.01, "1.757953e-4/1.215809e-6");
    assert!(value(weight, "the same where the loser leads") < 1.0);
    assert!(value(weight, "the spread of the gradients") > 1e3 && value(weight, "their spread at T") > 100.0);
    assert!((value(weight, "the spread of DPO's") - 1.0).abs() < 1e-9);
}

#[test]
fn the_revisions_printed_complement_and_listing_are_wrong() {
    let claims = audit(6);
    let printed = named(&claims, "R3");
    assert!(value(printed, "the sum as printed") < value(printed, "LogSumExp over t"));
    assert!(value(printed, "the sum for 20 tokens") < -50.0 && value(printed, "LogSumExp for 20 tokens") > -1e-4);
    let nan = named(&claims, "R7");
    assert_eq!((nan.value, value(nan, "is its term")), (1.0, 1.0));
    assert!(nan.evidence.contains("NaN"), "{}", nan.evidence);
    assert!((named(&claims, "R8").value - 0.5).abs() < 1e-15);
}

#[test]
fn nothing_agrees_with_nan() {
    assert!(!losses::audit::Check::new("nothing", f64::NAN, 0.0, 1.0).agrees());
}
