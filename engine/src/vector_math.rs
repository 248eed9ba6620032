//! e^x and tanh x without a branch, so that a loop over them vectorises. Errors are a few units in the last place; the tests hold those
//! for f32 to f64, and that for f64 to the system's.

/// Adding and subtracting 1.5·2²³ rounds an f32 of magnitude below 2²² to the nearest integer.
const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts; the first has few enough bits that its product with an exponent is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// e^x = 2ⁿ·e^r with n = round(x/ln 2) and |r| ≤ ln 2/2; e^r by its Taylor polynomial of degree 7, whose remainder r⁸/8! is below 5.2e-9.
/// 0 below −104, ∞ above 88.8, NaN for NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = if x < -104.0 { -104.0 } else { x };
    let x = if x > 89.0 { 89.0 } else { x };
    let rounded = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = exponent >> 1;
    exp_of_rest(x, rounded - ROUND) * power_of_two(half) * power_of_two(exponent.wrapping_sub(half))
}

/// [`exp`] for a term of a sum that has 1 beside it, or a probability: 0 below −87, where the least normal numbers begin. Above 88 the
/// result means nothing.
#[inline(always)]
pub fn exp_of_term(x: f32) -> f32 {
    let rounded = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let e = exp_of_rest(x, rounded - ROUND) * power_of_two(exponent);
    if x < -87.0 { 0.0 } else { e }
}

/// e^r with r = x − n·ln 2.
#[inline(always)]
fn exp_of_rest(x: f32, n: f32) -> f32 {
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, x));
    let tail = r.mul_add(r.mul_add(1.0 / 5040.0, 1.0 / 720.0), 1.0 / 120.0);
    let polynomial = r.mul_add(r.mul_add(r.mul_add(tail, 1.0 / 24.0), 1.0 / 6.0), 0.5);
    1.0 + (r * r).mul_add(polynomial, r)
}

/// 2ⁿ for an integer n in −126..=127, by its bits.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// e^x in f64 for x ≤ 0, as weights of tokens need it: 2ⁿ·e^r with n = round(x/ln 2) and |r| ≤ ln 2/2; e^r by its Taylor polynomial of
/// degree 13, whose remainder r¹⁴/14! is below 4.2e-18. 0 below −708, where the least normal numbers begin.
#[inline(always)]
pub fn exp_f64(x: f64) -> f64 {
    // Adding and subtracting 1.5·2⁵² rounds to the nearest integer.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    // ln 2 in two parts; the first has few enough bits that its product with n is exact.
    const LN_2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let within = if x < -708.0 { -708.0 } else { x };
    let rounded = within.mul_add(std::f64::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, within));
    let mut polynomial = 1.0 / FACTORIALS[13];
    for factorial in FACTORIALS[2..13].iter().rev() {
        polynomial = r.mul_add(polynomial, 1.0 / factorial);
    }
    let e = 1.0 + (r * r).mul_add(polynomial, r);
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits());
    let e = e * f64::from_bits(exponent.wrapping_add(1023) << 52);
    if x < -708.0 { 0.0 } else { e }
}

/// 0! to 13!.
const FACTORIALS: [f64; 14] = {
    let mut all = [1.0; 14];
    let mut n = 1;
    while n < 14 {
        all[n] = all[n - 1] * n as f64;
        n += 1;
    }
    all
};

/// tanh x = (1 − e^{−2|x|})/(1 + e^{−2|x|}) with the sign of x; its Taylor polynomial of degree 9 where |x| < 0.25, whose remainder is
/// below
/// 0.0089·x¹¹.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let e = exp(-2.0 * x.abs());
    let large = ((1.0 - e) / (1.0 + e)).copysign(x);
    let s = x * x;
    let small = x + x * s * (-1.0 / 3.0 + s * (2.0 / 15.0 + s * (-17.0 / 315.0 + s * (62.0 / 2835.0))));
    if x.abs() < 0.25 { small } else { large }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, from: f32, to: f32) -> f64 {
        let n = 200_000;
        let point = |i: usize| from + (to - from) * i as f32 / n as f32;
        (0..=n)
            .map(point)
            .map(|x| ((f(x) as f64 - exact(x as f64)) / exact(x as f64).abs().max(f32::MIN_POSITIVE as f64)).abs())
            .fold(0.0, f64::max)
    }

    #[test]
    fn exp_is_within_two_units_in_the_last_place_of_f64() {
        let error = worst(exp, f64::exp, -87.0, 88.7);
        assert!(error < 2.0 * f32::EPSILON as f64, "{error:e}");
    }

    #[test]
    fn exp_of_a_term_is_exp_or_nothing() {
        for x in (0..=200_000).map(|i| 88.0 - 200.0 * i as f32 / 200_000.0).chain([-0.0, -87.0, -1e4, -3e38, f32::NEG_INFINITY]) {
            let expected = if x < -87.0 { 0.0 } else { exp(x) };
            assert_eq!(exp_of_term(x).to_bits(), expected.to_bits(), "{x}");
        }
        assert!(exp_of_term(f32::NAN).is_nan());
    }

    /// The polynomial, its argument and the product round by a unit or two in all.
    #[test]
    fn exp_of_f64_is_within_two_units_in_the_last_place_of_the_systems() {
        for i in 0..200_000 {
            let x = -708.0 * (f64::from(i) / 200_000.0).powi(3);
            let (found, wanted) = (exp_f64(x), x.exp());
            assert!((found - wanted).abs() <= 2.0 * f64::EPSILON * wanted, "{x}: {found}, not {wanted}");
        }
        assert!((exp_f64(0.0), exp_f64(-708.1), exp_f64(f64::NEG_INFINITY)) == (1.0, 0.0, 0.0) && exp_f64(f64::NAN).is_nan());
    }

    #[test]
    fn exp_at_the_edges() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-1e4), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(1e4), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(-100.0) > 0.0, "subnormal results survive");
    }

    #[test]
    fn tanh_is_within_four_units_in_the_last_place_of_f64() {
        let error = worst(tanh, f64::tanh, 1e-6, 12.0);
        assert!(error < 4.0 * f32::EPSILON as f64, "{error:e}");
        assert_eq!(tanh(-1e4), -1.0);
        assert_eq!(tanh(0.0), 0.0);
        assert!(tanh(f32::NAN).is_nan());
    }
}
