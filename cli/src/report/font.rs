//! The font of the formulas. Browsers stretch roots and brackets by a font's MATH table, which few installed fonts have.
//!
//! `math.woff2` is a subset of STIX Math under the SIL Open Font License; see `math.OFL.txt`.

const FONT: &[u8] = include_bytes!("math.woff2");

/// Returns the style rules that embed the font in a page, or an empty text if no part of the page has a formula.
pub fn style_sheet<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    if !parts.into_iter().any(|part| part.contains("<math")) {
        return String::new();
    }
    // At the same size, the letters of this font are smaller than those of a page's text, and its bars are close to the letters.
    format!(
        "@font-face {{ font-family: \"Slpo Math\"; src: url(\"data:font/woff2;base64,{}\") format(\"woff2\"); }}\n\
         math {{ font-family: \"Slpo Math\", math; font-size: 1.12em; }}\n\
         math[display=\"block\"] {{ font-size: 1.25em; }}\n\
         math mover > mo:last-child {{ padding-bottom: 0.08em; }}\n",
        base64(FONT)
    )
}

/// Encodes in base 64 with padding (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, &byte| (bits << 8) | u32::from(byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS[((bits >> (18 - 6 * place)) & 63) as usize];
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_64_is_that_of_the_rfc() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy")];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xff, 0xef, 0xbe]), "/+++");
    }

    #[test]
    fn the_font_is_small_and_a_web_font() {
        assert!(FONT.starts_with(b"wOF2") && FONT.len() < 80_000, "{} bytes", FONT.len());
    }

    #[test]
    fn only_formulas_bring_the_font() {
        assert_eq!(style_sheet(["<p>mathematics</p>"]), "");
        assert!(style_sheet(["<p>", "<math><mi>x</mi></math>"]).contains("@font-face"));
    }
}
