//! A guide, from one number with a derivative to a loss that aligns a language model. Read the chapters in order; the code in them is
//! compiled and run by the tests.
//!
//! | chapter | after it you can |
//! |---|---|
//! | [`house`] | find your way in these crates |
//! | [`tape`] | write reverse mode for scalars yourself |
//! | [`one_op`] | follow an op from its formula to its kernel |
//! | [`equality`] | say when two floating-point results are equal, without a tuned tolerance |
//! | [`breaking`] | plant a mistake, and say which checks see it |
//! | [`decoder`] | read a transformer as a composition of ops |
//! | [`dpo`] | derive a preference loss from four numbers |
//! | [`slpo`] | judge the method that this project was made to judge |
//! | [`speed`] | make a kernel fast and keep its bits |

macro_rules! chapters {
    ($($name:ident),* $(,)?) => {
        $(
            #[doc = include_str!(concat!(stringify!($name), ".md"))]
            pub mod $name {}
        )*
    };
}
chapters! { house, tape, one_op, equality, breaking, decoder, dpo, slpo, speed }
