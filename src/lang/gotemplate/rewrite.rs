//! A template as the engine can bear it.

use super::error::TemplateError;
use super::lexer::{Action, Kind, Token};

/// The engine recurses for each of these, on the stack of whoever renders.
const MAX_PARENTHESES: usize = 32;
const MAX_BRANCHES: usize = 64;
const MAX_BLOCKS: usize = 48;

/// A block that has begun.
struct Block {
    keyword: String,
    line: usize,
    /// How many `{{else if}}` and `{{else with}}` it has.
    branches: usize,
    has_else: bool,
    /// How many blocks its `{{end}}` must close besides itself.
    extra_ends: usize,
}

/// Rewrites `source`, whose actions are given. What stands on a line of it stands on the same line of the result.
pub(super) fn rewrite(source: &str, actions: &[Action]) -> Result<String, TemplateError> {
    let mut out = String::with_capacity(source.len() + source.len() / 8);
    let mut blocks: Vec<Block> = Vec::new();
    let mut copied = 0;
    for action in actions {
        out.push_str(source.get(copied..action.start).unwrap_or_default());
        copied = action.end;
        if action.is_comment {
            out.push_str(source.get(action.start..action.end).unwrap_or_default());
            continue;
        }
        check_parentheses(action)?;
        check_literals(source, action)?;
        out.push_str(if action.trims_left { "{{- " } else { "{{" });
        match action.keyword() {
            Some("else") => {
                if enter_branch(&mut blocks, action)? {
                    // `{{else with X}}` becomes `{{else}}{{with X}}`, and one more `{{end}}` follows.
                    out.push_str("else}}{{");
                    write_tokens(&mut out, source, action.tokens.get(1..).unwrap_or_default());
                } else {
                    write_tokens(&mut out, source, &action.tokens);
                }
            }
            Some("end") => {
                let Some(block) = blocks.pop() else {
                    return Err(TemplateError::new(action.line, "unexpected `{{end}}`: no block is open"));
                };
                for _ in 0..block.extra_ends {
                    out.push_str("end}}{{");
                }
                write_tokens(&mut out, source, &action.tokens);
            }
            keyword => {
                if let Some(keyword @ ("if" | "with" | "range" | "define" | "block")) = keyword {
                    let (keyword, line) = (keyword.to_owned(), action.line);
                    blocks.push(Block { keyword, line, branches: 0, has_else: false, extra_ends: 0 });
                    check_depth(&blocks, line)?;
                }
                write_tokens(&mut out, source, &action.tokens);
            }
        }
        out.push_str(if action.trims_right { " -}}" } else { "}}" });
    }
    if let Some(Block { keyword, line, .. }) = blocks.pop() {
        return Err(TemplateError::new(line, format!("the block `{keyword}` has no `{{{{end}}}}`")));
    }
    out.push_str(source.get(copied..).unwrap_or_default());
    Ok(out)
}

/// Enters the branch that an `{{else …}}` begins. Says whether the engine does not know it and needs a nested block.
fn enter_branch(blocks: &mut [Block], action: &Action) -> Result<bool, TemplateError> {
    let error = |message: String| Err(TemplateError::new(action.line, message));
    let Some(block) =
        blocks.last_mut().filter(|block| matches!(block.keyword.as_str(), "if" | "with" | "range"))
    else {
        return error("unexpected `{{else}}`: no `if`, `with` or `range` is open".to_owned());
    };
    let Block { keyword, line, .. } = block;
    if block.has_else {
        return error(format!("the `{keyword}` of line {line} has ended its branches with `{{{{else}}}}`"));
    }
    let nested = match action.tokens.get(1).map(|token| &token.kind) {
        None => {
            block.has_else = true;
            return Ok(false);
        }
        Some(Kind::Identifier(word)) if word == keyword && keyword != "range" => word == "with",
        Some(_) => {
            return error(format!(
                "a `{keyword}` has `{{{{else}}}}` or, if it is not `range`, `else {keyword}`"
            ));
        }
    };
    block.branches += 1;
    block.extra_ends += usize::from(nested);
    if block.branches > MAX_BRANCHES {
        return error(format!("more than {MAX_BRANCHES} branches in one block"));
    }
    check_depth(blocks, action.line)?;
    Ok(nested)
}

fn check_depth(blocks: &[Block], line: usize) -> Result<(), TemplateError> {
    let depth: usize = blocks.iter().map(|block| 1 + block.extra_ends).sum();
    if depth > MAX_BLOCKS {
        return Err(TemplateError::new(line, format!("blocks nest more than {MAX_BLOCKS} deep")));
    }
    Ok(())
}

fn check_parentheses(action: &Action) -> Result<(), TemplateError> {
    let mut depth = 0_usize;
    for token in &action.tokens {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth > MAX_PARENTHESES {
            let message = format!("parentheses nest more than {MAX_PARENTHESES} deep");
            return Err(TemplateError::new(token.line, message));
        }
    }
    Ok(())
}

/// Refuses what follows a literal without a blank, as Go does: rewritten, the two may be one number.
fn check_literals(source: &str, action: &Action) -> Result<(), TemplateError> {
    // Behind the name of a template Go asks for none.
    let named = matches!(action.keyword(), Some("template" | "block"));
    let tokens = action.tokens.get(if named { 2 } else { 0 }..).unwrap_or_default();
    for (literal, next) in tokens.iter().zip(tokens.iter().skip(1)) {
        let is_literal = matches!(literal.kind, Kind::Text(_) | Kind::Character(_));
        let may_follow = matches!(next.kind, Kind::Close | Kind::Pipe | Kind::Comma);
        if is_literal && next.adjacent && !may_follow {
            let written = source.get(next.start..next.end).unwrap_or_default();
            let message = format!("`{written}` follows a constant without a blank");
            return Err(TemplateError::new(next.line, message));
        }
    }
    Ok(())
}

/// Writes tokens and the blanks between them; literals are written anew.
fn write_tokens(out: &mut String, source: &str, tokens: &[Token]) {
    let mut copied = tokens.first().map_or(0, |token| token.start);
    for token in tokens {
        out.push_str(source.get(copied..token.start).unwrap_or_default());
        copied = token.end;
        let written = source.get(token.start..token.end).unwrap_or_default();
        match &token.kind {
            Kind::Text(text) => {
                write_string(out, text);
                // A raw string over several lines: the lines are kept, as blanks of the action.
                out.extend(std::iter::repeat_n('\n', written.matches('\n').count()));
            }
            Kind::Character(character) => out.push_str(&u32::from(*character).to_string()),
            _ => out.push_str(written),
        }
    }
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            // The engine's lexer takes the quote behind two backslashes for an escaped one.
            '\\' if characters.peek().is_none() => out.push_str("\\x5c"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            other => out.push(other),
        }
    }
    out.push('"');
}
