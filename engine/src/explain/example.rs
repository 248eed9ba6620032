//! What an explanation is worked through on: a call with named inputs of few elements.

use crate::gradcheck::Sample;

/// A call with its inputs. The macro [`example!`](crate::example) makes one from an expression.
pub struct Example {
    /// The call as it stands in the source.
    pub call: String,
    /// A name for each input of the sample.
    pub names: Vec<&'static str>,
    /// The function and its inputs.
    pub sample: Sample,
    /// What is fixed besides the inputs, in words; empty where nothing is.
    pub given: String,
}

impl Example {
    /// A call on a sample.
    ///
    /// # Panics
    /// If there is not one name for each input.
    #[track_caller]
    pub fn new(call: &str, names: &[&'static str], sample: Sample) -> Self {
        assert_eq!(names.len(), sample.inputs.len(), "example: one name for each input");
        Self { call: call.split_whitespace().collect::<Vec<_>>().join(" "), names: names.to_vec(), sample, given: String::new() }
    }

    /// Says what is fixed besides the inputs.
    pub fn given(mut self, given: impl Into<String>) -> Self {
        self.given = given.into();
        self
    }
}

/// Makes an [`Example`](crate::explain::Example) from named inputs and an expression in them; after `twin` the same in another way.
///
/// ```
/// use engine::example;
/// let example = example!(|x: [1.0, 2.0, 0.5] => [3]| x.softmax(), twin x.log_softmax().exp());
/// assert_eq!(example.call, "x.softmax()");
/// ```
#[macro_export]
macro_rules! example {
    (@function [$($name:ident),+] $body:expr) => {
        $crate::function!(|inputs| {
            let [$($name),+] = inputs else { unreachable!("as many inputs as names") };
            $body
        })
    };
    (|$($name:ident: [$($x:expr),* $(,)?] => [$($extent:expr),*]);+| $body:expr, twin $twin:expr) => {{
        let example = $crate::example!(|$($name: [$($x),*] => [$($extent),*]);+| $body);
        let sample = example.sample.with_twin($crate::example!(@function [$($name),+] $twin));
        $crate::explain::Example { sample, ..example }
    }};
    (|$($name:ident: [$($x:expr),* $(,)?] => [$($extent:expr),*]);+| $body:expr) => {{
        let inputs = vec![$($crate::gradcheck::Input::new(vec![$($x),*], &[$($extent),*])),+];
        let sample = $crate::gradcheck::Sample::new($crate::example!(@function [$($name),+] $body), inputs);
        $crate::explain::Example::new(stringify!($body), &[$(stringify!($name)),+], sample)
    }};
}
