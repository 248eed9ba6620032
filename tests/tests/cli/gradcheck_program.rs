//! `slpo gradcheck --program`: functions that this test computes itself, at the other end of the binary's standard input and output, and
//! programs that do not keep to the protocol.

use crate::command::{binary, failure, slpo_words};
use model::safetensors_file::{Dtype, RawTensor, read_raw, write_raw};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

type Arrays = Vec<Vec<f64>>;
/// The shape and the elements of a function's value.
type Evaluate = Box<dyn Fn(&Arrays) -> (Vec<usize>, Vec<f64>)>;
/// The gradients of Σ cotangent·value.
type PullBack = Box<dyn Fn(&Arrays, &[f64]) -> Arrays>;

/// A function with its gradient by hand.
struct Person {
    inputs: Vec<(&'static str, Vec<usize>, Vec<f64>)>,
    dtype: Dtype,
    value: Evaluate,
    gradient: PullBack,
}

/// What the binary said in the end.
struct Said {
    code: Option<i32>,
    /// The result, if there is one.
    result: Value,
    error: String,
}

impl Said {
    /// Verdicts of all elements.
    fn verdicts(&self) -> Vec<&str> {
        self.result["elements"].as_array().unwrap().iter().map(|element| element["verdict"].as_str().unwrap()).collect()
    }
}

fn write<'a>(path: &Path, tensors: impl Iterator<Item = (&'a str, &'a [usize], &'a [f64])>, dtype: Dtype) {
    let tensors = tensors.map(|(name, shape, values)| (name.to_owned(), RawTensor::of_f64(dtype, shape, values)));
    write_raw(path, &tensors.collect()).unwrap();
}

/// Plays a program's side.
fn check(person: &Person) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let point = folder.path().join("point.safetensors");
    write(&point, person.inputs.iter().map(|(name, shape, values)| (*name, &shape[..], &values[..])), person.dtype);
    let mut command = Command::new(binary());
    command.args(["gradcheck", "--program", "-", "--json"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut answers = child.stdin.take().unwrap();
    writeln!(answers, "{}", json!({ "inputs": point })).unwrap();
    let mut result = Value::Null;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let request: Value = serde_json::from_str(&line.unwrap()).unwrap();
        if request.get("checks").is_some() {
            result = request;
            break;
        }
        let file = |key: &str| Path::new(request[key].as_str().unwrap()).to_owned();
        let x = read_raw(&file("inputs")).unwrap();
        let x: Arrays = person.inputs.iter().map(|(name, ..)| x[*name].to_f64().unwrap()).collect();
        let (shape, value) = (person.value)(&x);
        let mut output = vec![("value".to_owned(), shape, value)];
        if !request["cotangent"].is_null() {
            let cotangent = read_raw(&file("cotangent")).unwrap()["cotangent"].to_f64().unwrap();
            let gradients = (person.gradient)(&x, &cotangent);
            let named = person.inputs.iter().zip(gradients);
            output.extend(named.map(|((name, shape, _), gradient)| (format!("grad_{name}"), shape.clone(), gradient)));
        }
        write(&file("output"), output.iter().map(|(name, shape, values)| (&name[..], &shape[..], &values[..])), person.dtype);
        writeln!(answers, "{{}}").unwrap();
    }
    let output = child.wait_with_output().unwrap();
    Said { code: output.status.code(), result, error: String::from_utf8(output.stderr).unwrap() }
}

/// A function of one input with one value.
fn of_one(x: &[f64], f: impl Fn(&[f64]) -> f64 + 'static, gradient: impl Fn(&[f64]) -> Vec<f64> + 'static) -> Person {
    Person {
        inputs: vec![("x", vec![x.len()], x.to_vec())],
        dtype: Dtype::F64,
        value: Box::new(move |x| (vec![], vec![f(&x[0])])),
        gradient: Box::new(move |x, _| vec![gradient(&x[0])]),
    }
}

/// Σ sin x, with the gradient of the element 1 multiplied by `factor`.
fn sines(factor: f64) -> Person {
    let gradient = move |x: &[f64]| x.iter().enumerate().map(|(i, x)| x.cos() * if i == 1 { factor } else { 1.0 }).collect();
    of_one(&[0.5, -1.0, 2.0], |x| x.iter().map(|x| x.sin()).sum(), gradient)
}

#[test]
fn a_right_gradient_passes_with_a_word_on_each_element() {
    let said = check(&sines(1.0));
    assert_eq!((said.code, said.verdicts(), &said.result["passed"]), (Some(0), vec!["right"; 3], &json!(true)), "{}", said.error);
    let check = &said.result["checks"][0];
    assert_eq!((&check["name"], &check["method"], &check["right"]), (&json!("x"), &json!("finite_difference"), &json!(3)));
    assert_eq!((&said.result["precision"], &said.result["elements"][1]["index"]), (&json!("f64"), &json!([1])));
}

#[test]
fn an_element_that_is_one_percent_off_is_wrong_with_what_differences_give_and_their_error() {
    let said = check(&sines(1.01));
    assert_eq!((said.code, said.verdicts()), (Some(1), vec!["right", "wrong", "right"]));
    let element = &said.result["elements"][1];
    let [expected, got, error] = ["expected", "got", "estimated_error"].map(|key| element[key].as_f64().unwrap());
    assert!((expected - (-1.0f64).cos()).abs() < 1e-9 && (got - 1.01 * (-1.0f64).cos()).abs() < 1e-15 && error < 1e-8, "{element}");
    assert!(said.error.contains("grad_x[1] is 5.45") && said.error.lines().count() == 1, "{}", said.error);
}

#[test]
fn kinks_are_unchecked_and_not_wrong() {
    let relu = |at_zero: f64| {
        let slope = move |x: &f64| if *x == 0.0 { at_zero } else { f64::from(*x > 0.0) };
        of_one(&[0.0, 1.0, -1.0], |x| x.iter().map(|x| x.max(0.0)).sum(), move |x| x.iter().map(slope).collect())
    };
    for at_zero in [0.0, 0.5, 1.0] {
        let said = check(&relu(at_zero));
        assert_eq!((said.code, said.verdicts()), (Some(0), vec!["unchecked", "right", "right"]), "{}", said.error);
        assert!(said.result["elements"][0]["reason"].as_str().unwrap().contains("kink"));
    }
    let alone = check(&of_one(&[0.0], |x| x[0].abs(), |_| vec![0.0]));
    assert_eq!((alone.code, alone.verdicts()), (Some(1), vec!["unchecked"]));
    assert!(alone.error.contains("nothing could be checked"), "{}", alone.error);
}

/// w·x with the gradient of w, transposed where `is_wrong`.
fn product(is_wrong: bool) -> Person {
    Person {
        inputs: vec![("w", vec![2, 2], vec![1.0, -2.0, 0.5, 3.0]), ("x", vec![2], vec![0.7, -1.1])],
        dtype: Dtype::F64,
        value: Box::new(|inputs| {
            let (w, x) = (&inputs[0], &inputs[1]);
            (vec![2], vec![w[0] * x[0] + w[1] * x[1], w[2] * x[0] + w[3] * x[1]])
        }),
        gradient: Box::new(move |inputs, v| {
            let (w, x) = (&inputs[0], &inputs[1]);
            let of_w = vec![v[0] * x[0], v[0] * x[1], v[1] * x[0], v[1] * x[1]];
            let of_w = if is_wrong { vec![of_w[0], of_w[2], of_w[1], of_w[3]] } else { of_w };
            vec![of_w, vec![w[0] * v[0] + w[2] * v[1], w[1] * v[0] + w[3] * v[1]]]
        }),
    }
}

#[test]
fn a_function_of_two_inputs_with_an_array_as_value_is_checked_by_a_cotangent() {
    let said = check(&product(false));
    assert_eq!((said.code, said.verdicts()), (Some(0), vec!["right"; 6]), "{}", said.error);
    let said = check(&product(true));
    assert_eq!(said.verdicts(), ["right", "wrong", "wrong", "right", "right", "right"]);
    assert_eq!((said.code, &said.result["elements"][1]["index"]), (Some(1), &json!([0, 1])));
}

#[test]
fn numbers_in_f32_are_said_and_held_to_their_rounding() {
    for (factor, code) in [(1.0, 0), (1.0 + 1e-6, 0), (1.01, 1)] {
        let rounded = |x: &[f64]| f64::from(x.iter().map(|x| (*x as f32).sin()).sum::<f32>());
        let person = Person { dtype: Dtype::F32, ..sines(factor) };
        let said = check(&Person { value: Box::new(move |x| (vec![], vec![rounded(&x[0])])), ..person });
        assert_eq!((said.code, &said.result["precision"]), (Some(code), &json!("f32")), "{factor}: {}", said.error);
    }
}

#[test]
fn answers_that_cannot_be_used_are_refused_in_one_line_that_says_what_to_do() {
    let refused = |person: Person, words: [&str; 2]| {
        let said = check(&person);
        assert_eq!((said.code, said.error.lines().count()), (Some(1), 1), "{}", said.error);
        assert!(words.iter().all(|word| said.error.contains(word)), "{}", said.error);
    };
    let with_value = |f: fn(&[f64]) -> f64| of_one(&[0.5, 2.0], f, |_| vec![1.0, 1.0]);
    refused(with_value(|_| f64::NAN), ["`value` is NaN", "give a point where it is finite"]);
    refused(of_one(&[0.5], |x| x[0], |_| vec![f64::INFINITY]), ["`grad_x` is inf", "give a point where it is finite"]);
    let short = Person { value: Box::new(|x| (vec![usize::from(x[0][0] == 0.5)], vec![1.0; usize::from(x[0][0] == 0.5)])), ..sines(1.0) };
    refused(short, ["`value` has shape [0], but at the point it had [1]", "the same everywhere"]);
    let counter = std::cell::Cell::new(0.0);
    let random = Box::new(move |_: &Arrays| {
        counter.set(counter.get() + 1.0);
        (vec![], vec![counter.get()])
    });
    refused(Person { value: random, ..sines(1.0) }, ["two calls at the same point gave 1e0 and 2e0", "dropout"]);
}

/// A program that the shell starts, in one line of error.
fn fails(program: &str, more: &[&str]) -> String {
    let start = Instant::now();
    let output = slpo_words(&[&["gradcheck", "--program", program][..], more].concat());
    assert!(start.elapsed() < Duration::from_secs(30), "{program} took {:?}", start.elapsed());
    failure(&output, 1)
}

#[cfg(unix)]
#[test]
fn programs_that_die_hang_or_print_rubbish_are_named() {
    let says = |program: &str, more: &[&str], words: &[&str]| {
        let line = fails(program, more);
        assert!(words.iter().all(|word| line.contains(word)), "{program}: {line}");
    };
    says("exit 3", &[], &["`exit 3`: it ended (exit status: 3) where \"inputs\" was awaited", "standard error"]);
    says("echo hello", &[], &["line 1 of its standard output is \"hello\"", "print anything else to standard error"]);
    says("echo '[1]'", &[], &["where a JSON object"]);
    says("head -c 5000000 /dev/zero", &[], &["line 1 of its standard output"]);
    says("exec sleep 1000", &["--timeout", "0.3"], &["no line came within 0.3 s", "longer --timeout"]);
    says("echo '{}'; cat >&2 </dev/null", &[], &["its first line has no \"inputs\""]);
    says("echo '{\"error\": \"no data\"}'", &[], &["it reports an error: no data"]);
    says("echo '{\"inputs\": \"/nowhere/point.safetensors\"}'", &[], &["/nowhere/point.safetensors", "there is no such file"]);
    says("echo '{\"inputs\": {\"x\": [0, 3]}}'", &[], &["no elements"]);
    says("echo '{\"inputs\": {\"x\": [-1]}}'", &[], &["shape of the input `x` is [-1]", "such as [2, 3]"]);
    let shapes = "echo '{\"inputs\": {\"x\": [3]}}'; read request;";
    says(&format!("{shapes} exit 1"), &[], &["it ended (exit status: 1) where the answer about the value was awaited"]);
    says(&format!("{shapes} echo '{{}}'; cat >/dev/null"), &[], &["it answered, but its output is not there"]);
    says(&format!("{shapes} exec sleep 1000"), &["--timeout", "3"], &["within 3 s", "the answer about the value was awaited"]);
}

#[test]
fn a_program_excludes_names_and_a_timeout_needs_a_program() {
    for arguments in [vec!["softmax", "--program", "true"], vec!["--quick", "--program", "true"], vec!["--timeout", "3"]] {
        failure(&slpo_words(&[&["gradcheck"][..], &arguments].concat()), 2);
    }
}
