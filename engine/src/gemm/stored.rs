//! What files of models store weights in, beside f32: a number or a block of them, and what it stands for.

/// A block of ggml's Q8_0: number i is scale·quants\[i\], which f32 holds exactly, because the scale was an f16.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Q8Block {
    /// What the integers are multiplied by.
    pub scale: f32,
    /// The integers.
    pub quants: [i8; Self::NUMBERS],
}

impl Q8Block {
    /// Numbers of a block.
    pub const NUMBERS: usize = 32;

    /// The numbers in f32, exactly.
    #[inline(always)]
    pub fn widened(self) -> [f32; Self::NUMBERS] {
        self.quants.map(|quant| self.scale * f32::from(quant))
    }
}
