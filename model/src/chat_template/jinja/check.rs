//! The check that jinja2 makes before it runs a template: every filter and every test must be known.

use super::fault::{Fault, Outcome};
use super::syntax::{Expression, ExpressionKind, Macro, Statement, StatementKind};
use super::{filters, predicates};

/// Refuses a template with unknown filters or tests. Within an `if`, an unknown filter is an error only when it runs, so that a template
/// can test whether the filter exists.
///
/// # Errors
/// If an unknown filter or test is outside an `if`, or in a loop, a macro or a block inside one.
pub fn check(statements: &[Statement]) -> Outcome<()> {
    in_body(statements, false)
}

fn in_body(statements: &[Statement], is_optional: bool) -> Outcome<()> {
    statements.iter().try_for_each(|statement| in_statement(statement, is_optional).map_err(|fault| fault.at(statement.line)))
}

fn in_statement(statement: &Statement, is_optional: bool) -> Outcome<()> {
    match &statement.kind {
        StatementKind::Data(_) | StatementKind::Break | StatementKind::Continue | StatementKind::OtherTemplate(_) => Ok(()),
        StatementKind::Output(value) | StatementKind::Set(_, value) => in_expression(value, is_optional),
        StatementKind::For(block) => {
            in_expression(&block.items, is_optional)?;
            block.test.iter().try_for_each(|test| in_expression(test, false))?;
            in_body(&block.body, false)?;
            in_body(&block.otherwise, false)
        }
        StatementKind::If { branches, otherwise } => {
            for (test, body) in branches {
                in_expression(test, true)?;
                in_body(body, true)?;
            }
            in_body(otherwise, true)
        }
        StatementKind::SetBlock(_, filters, body) => {
            filters.iter().try_for_each(|filters| in_expression(filters, false))?;
            in_body(body, false)
        }
        StatementKind::With(values, body) => {
            values.iter().try_for_each(|(_, value)| in_expression(value, is_optional))?;
            in_body(body, false)
        }
        StatementKind::Macro(inner) | StatementKind::Generation(inner) => in_macro(inner),
        StatementKind::CallBlock(call, inner) => {
            in_expression(call, is_optional)?;
            in_macro(inner)
        }
        StatementKind::FilterBlock(filters, body) => {
            in_expression(filters, false)?;
            in_body(body, false)
        }
        StatementKind::Block(_, body) => in_body(body, false),
    }
}

fn in_macro(inner: &Macro) -> Outcome<()> {
    inner.parameters.iter().filter_map(|(_, default)| default.as_ref()).try_for_each(|default| in_expression(default, false))?;
    in_body(&inner.body, false)
}

fn in_expression(expression: &Expression, is_optional: bool) -> Outcome<()> {
    let unknown = match &expression.kind {
        ExpressionKind::Filter(_, name, _) if !filters::is_known(name) => Some(("filter", name)),
        ExpressionKind::Test(_, name, _) if !predicates::is_known(name) => Some(("test", name)),
        _ => None,
    };
    if let Some((kind, name)) = unknown.filter(|_| !is_optional) {
        return Err(Fault::new(format!("there is no {kind} called {name:?}")).at(expression.line));
    }
    let is_optional = is_optional || matches!(expression.kind, ExpressionKind::Conditional { .. });
    let mut outcome = Ok(());
    expression.each_part(&mut |part| {
        if outcome.is_ok() {
            outcome = in_expression(part, is_optional);
        }
    });
    outcome
}
