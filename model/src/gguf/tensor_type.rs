//! ggml's element types: their names, their sizes, and the conversion to f32.
//!
//! | type | a block | element |
//! |---|---|---|
//! | Q8_0 | d f16, 32 × q i8 | d·q |
//! | Q4_0 | d f16, 16 bytes | d·(q − 8); byte j holds q of element j in its low half and of element j + 16 in its high half |
//! | Q4_1 | d f16, m f16, 16 bytes | d·q + m; halves as in Q4_0 |
//!
//! The products and sums are in f32, rounded where ggml rounds them (ggml-quants.c, `dequantize_row_*`).

use crate::error::Result;
use crate::files::Content;
use engine::backend::cpu::stored::{Numbers, Q8Block};
use half::{bf16, f16};
use std::ops::Range;

/// One of ggml's types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorType {
    number: u32,
    name: &'static str,
    /// Elements of a block. A row is a whole number of blocks.
    block: u64,
    /// Bytes of a block.
    bytes: u64,
}

/// Elements of a block, for the quantised types that are widened here.
const BLOCK: usize = 32;

const fn kind(number: u32, name: &'static str, block: u64, bytes: u64) -> TensorType {
    TensorType { number, name, block, bytes }
}

/// Every type that files are known to hold (ggml.h, `ggml_type`).
const TYPES: [TensorType; 32] = [
    kind(0, "F32", 1, 4),
    kind(1, "F16", 1, 2),
    kind(2, "Q4_0", 32, 18),
    kind(3, "Q4_1", 32, 20),
    kind(6, "Q5_0", 32, 22),
    kind(7, "Q5_1", 32, 24),
    kind(8, "Q8_0", 32, 34),
    kind(9, "Q8_1", 32, 36),
    kind(10, "Q2_K", 256, 84),
    kind(11, "Q3_K", 256, 110),
    kind(12, "Q4_K", 256, 144),
    kind(13, "Q5_K", 256, 176),
    kind(14, "Q6_K", 256, 210),
    kind(15, "Q8_K", 256, 292),
    kind(16, "IQ2_XXS", 256, 66),
    kind(17, "IQ2_XS", 256, 74),
    kind(18, "IQ3_XXS", 256, 98),
    kind(19, "IQ1_S", 256, 50),
    kind(20, "IQ4_NL", 32, 18),
    kind(21, "IQ3_S", 256, 110),
    kind(22, "IQ2_S", 256, 82),
    kind(23, "IQ4_XS", 256, 136),
    kind(24, "I8", 1, 1),
    kind(25, "I16", 1, 2),
    kind(26, "I32", 1, 4),
    kind(27, "I64", 1, 8),
    kind(28, "F64", 1, 8),
    kind(29, "IQ1_M", 256, 56),
    kind(30, "BF16", 1, 2),
    kind(34, "TQ1_0", 256, 54),
    kind(35, "TQ2_0", 256, 66),
    kind(39, "MXFP4", 32, 17),
];

impl TensorType {
    /// The names of the types that can be widened.
    pub const SUPPORTED: &str = "F32, F16, BF16, Q8_0, Q4_0, Q4_1 (K-quants and the others lose what training needs: \
                                 convert the model from an F16 or BF16 file)";

    /// Returns the type with ggml's number.
    pub fn of_number(number: u32) -> Option<Self> {
        TYPES.into_iter().find(|kind| kind.number == number)
    }

    /// Returns ggml's name, such as `Q4_K`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the bytes of `elements` elements in rows of `row`. Returns `None` if a row is not a whole number of blocks, or the result
    /// overflows.
    pub fn bytes_of(&self, elements: u64, row: u64) -> Option<u64> {
        if !row.is_multiple_of(self.block) {
            return None;
        }
        (elements / self.block).checked_mul(self.bytes)
    }

    /// Reads the elements in a range of a file as they are, if they are in bfloat16, f16 or Q8_0.
    ///
    /// # Errors
    /// The errors of [`Content::elements`].
    pub fn stored(&self, content: &Content, range: Range<u64>) -> Result<Option<Numbers>> {
        match self.name {
            "BF16" => content.elements(range, |b| [bf16::from_le_bytes(b)]).map(|numbers| Some(Numbers::Bf16(numbers))),
            "F16" => content.elements(range, |b| [f16::from_le_bytes(b)]).map(|numbers| Some(Numbers::F16(numbers))),
            "Q8_0" => content.elements(range, |b| [q8_block(b)]).map(|blocks| Some(Numbers::Q8(blocks))),
            _ => Ok(None),
        }
    }

    /// Reads the elements in a range of a file as f32. Returns `None` for a type that cannot be widened.
    ///
    /// # Errors
    /// The errors of [`Content::elements`].
    pub fn widen(&self, content: &Content, range: Range<u64>) -> Result<Option<Vec<f32>>> {
        match self.name {
            "F32" => content.elements(range, |b| [f32::from_le_bytes(b)]),
            "F16" => content.elements(range, |b| [f16::from_le_bytes(b).to_f32()]),
            "BF16" => content.elements(range, |b| [bf16::from_le_bytes(b).to_f32()]),
            "Q8_0" => content.elements(range, q8_0),
            "Q4_0" => content.elements(range, q4_0),
            "Q4_1" => content.elements(range, q4_1),
            _ => return Ok(None),
        }
        .map(Some)
    }
}

fn half(low: u8, high: u8) -> f32 {
    f16::from_le_bytes([low, high]).to_f32()
}

fn q8_block([low, high, quants @ ..]: [u8; 34]) -> Q8Block {
    Q8Block { scale: half(low, high), quants: quants.map(|q| q as i8) }
}

fn q8_0(block: [u8; 34]) -> [f32; BLOCK] {
    q8_block(block).widened()
}

/// Returns the quantised value of an element of Q4_0 or Q4_1.
fn nibble(quants: &[u8; 16], element: usize) -> u8 {
    if element < 16 { quants[element] & 15 } else { quants[element - 16] >> 4 }
}

fn q4_0([low, high, quants @ ..]: [u8; 18]) -> [f32; BLOCK] {
    let d = half(low, high);
    std::array::from_fn(|element| d * (f32::from(nibble(&quants, element)) - 8.0))
}

fn q4_1([d_low, d_high, m_low, m_high, quants @ ..]: [u8; 20]) -> [f32; BLOCK] {
    let (d, m) = (half(d_low, d_high), half(m_low, m_high));
    std::array::from_fn(|element| d * f32::from(nibble(&quants, element)) + m)
}
