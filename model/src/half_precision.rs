//! The two 16-bit floating-point types of weight files, widened to f32 exactly: subnormals, infinities and NaN included.

/// Widens IEEE 754 binary16 to binary32. Every half is exact in f32.
pub fn f16_to_f32(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f32::from(bits & 0x3ff);
    match exponent {
        0 => sign * fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => sign * f32::INFINITY,
        31 => f32::NAN,
        _ => sign * (1024.0 + fraction) * 2f32.powi(exponent - 25),
    }
}

/// Widens a bfloat16, which is the upper half of an f32.
pub fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of binary16 in f64 arithmetic: (−1)^s · 2^(e−15) · 1.f, or 2^(−14) · 0.f for e = 0.
    fn definition(bits: u16) -> f64 {
        let (sign, exponent, fraction) = (bits >> 15, i32::from(bits >> 10 & 31), f64::from(bits & 1023) / 1024.0);
        let magnitude = match exponent {
            0 => 2f64.powi(-14) * fraction,
            31 if fraction == 0.0 => f64::INFINITY,
            31 => f64::NAN,
            e => 2f64.powi(e - 15) * (1.0 + fraction),
        };
        if sign == 1 { -magnitude } else { magnitude }
    }

    #[test]
    fn every_half_is_its_definition() {
        for bits in 0..=u16::MAX {
            let (ours, expected) = (f64::from(f16_to_f32(bits)), definition(bits));
            assert!(ours.to_bits() == expected.to_bits() || (ours.is_nan() && expected.is_nan()), "{bits:#06x}: {ours} for {expected}");
        }
    }

    #[test]
    fn every_brain_half_is_the_f32_that_it_cuts_short() {
        for bits in 0..=u16::MAX {
            let wide = bf16_to_f32(bits);
            assert_eq!((wide.to_bits() >> 16) as u16, bits);
            assert_eq!(wide.to_bits() & 0xffff, 0);
        }
        assert_eq!((bf16_to_f32(0x3f80), bf16_to_f32(0x7f80), bf16_to_f32(0x0001)), (1.0, f32::INFINITY, 2f32.powi(-133)));
    }
}
