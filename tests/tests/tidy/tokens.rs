//! The code of a source file in words, without a compiler: enough for rules of style.

/// A word, `::`, or any other single character of code.
#[derive(Debug, PartialEq)]
pub struct Token {
    /// What it is.
    pub text: String,
    /// Where it stands.
    pub line: usize,
    /// It is the first of a line that is not indented.
    pub outermost: bool,
}

pub fn tokens(code: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let len = match word {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                _ => word,
            };
            let outermost = rest.len() == line.len();
            tokens.push(Token { text: rest[..len].to_owned(), line: number + 1, outermost });
            rest = rest[len..].trim_start();
        }
    }
    tokens
}

/// The modules of the crate that `tokens` name through `crate`, `super` or `self`, as paths from
/// the root, in the file that is `module`.
pub fn used_modules(tokens: &[Token], module: &[String]) -> Vec<(usize, Vec<String>)> {
    let mut used = Vec::new();
    let text = |at: usize| tokens.get(at).map_or("", |token: &Token| token.text.as_str());
    for at in 0..tokens.len() {
        // In the middle of a path these words are not its beginning.
        if at > 0 && text(at - 1) == "::" || text(at + 1) != "::" {
            continue;
        }
        let mut prefix = match text(at) {
            "crate" => Vec::new(),
            "self" => module.to_vec(),
            "super" => module[..module.len().saturating_sub(1)].to_vec(),
            _ => continue,
        };
        let mut next = at + 2;
        while text(next) == "super" && text(next + 1) == "::" {
            prefix.pop();
            next += 2;
        }
        let mut paths = Vec::new();
        path_tree(tokens, &mut next, prefix, &mut paths);
        used.extend(
            paths.into_iter().filter(|(_, path)| path.first().is_some_and(|first| !first.is_empty())),
        );
    }
    used
}

/// Reads a path, or a tree of paths in braces, and stops behind it.
fn path_tree(tokens: &[Token], at: &mut usize, mut path: Vec<String>, out: &mut Vec<(usize, Vec<String>)>) {
    let text = |at: usize| tokens.get(at).map_or("", |token: &Token| token.text.as_str());
    let line = tokens.get(*at).map_or(0, |token| token.line);
    if text(*at) == "{" {
        *at += 1;
        while !["}", ""].contains(&text(*at)) {
            if text(*at) == "," {
                *at += 1;
            } else {
                path_tree(tokens, at, path.clone(), out);
            }
        }
        *at += 1;
        return;
    }
    // `self` in braces is the path so far.
    if text(*at) != "self" {
        path.push(text(*at).to_owned());
    }
    *at += 1;
    if text(*at) == "::" {
        *at += 1;
        path_tree(tokens, at, path, out);
        return;
    }
    if text(*at) == "as" {
        *at += 2;
    }
    out.push((line, path));
}

/// The code of `text`: comments and the insides of literals blanked, lines kept.
pub fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut code = String::with_capacity(text.len());
    let blank = |code: &mut String, from: usize, to: usize| {
        let inside = chars[from..to.min(chars.len())].iter();
        code.extend(inside.map(|&c| if c == '\n' { '\n' } else { ' ' }));
        to
    };
    let mut i = 0;
    while i < chars.len() {
        let word_before = i > 0 && (chars[i - 1].is_alphanumeric() || chars[i - 1] == '_');
        i = match chars[i] {
            '/' if at(i + 1) == '/' => {
                let end = (i..chars.len()).find(|&j| chars[j] == '\n').unwrap_or(chars.len());
                blank(&mut code, i, end)
            }
            '/' if at(i + 1) == '*' => blank(&mut code, i, block_comment_end(&chars, i)),
            'r' if !word_before && raw_string_end(&chars, i + 1).is_some() => {
                let end = raw_string_end(&chars, i + 1).unwrap_or(i + 1);
                blank(&mut code, i, end)
            }
            'b' | 'c' if !word_before && at(i + 1) == 'r' && raw_string_end(&chars, i + 2).is_some() => {
                let end = raw_string_end(&chars, i + 2).unwrap_or(i + 2);
                blank(&mut code, i, end)
            }
            '"' => blank(&mut code, i, quoted_end(&chars, i, '"')),
            // A lifetime has no closing quote behind its first character.
            '\'' if at(i + 1) == '\\' || at(i + 2) == '\'' => {
                blank(&mut code, i, quoted_end(&chars, i, '\''))
            }
            c => {
                code.push(c);
                i + 1
            }
        };
    }
    code
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let (mut depth, mut i) = (0usize, start);
    while i < chars.len() {
        let pair = (chars[i], chars.get(i + 1).copied().unwrap_or('\0'));
        match pair {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

/// Behind a raw string whose hashes and opening quote begin at `start`; `None` if there is none.
fn raw_string_end(chars: &[char], start: usize) -> Option<usize> {
    let hashes = chars.get(start..)?.iter().take_while(|&&c| c == '#').count();
    if chars.get(start + hashes) != Some(&'"') {
        return None;
    }
    let inside = start + hashes + 1;
    (inside..chars.len())
        .find(|&i| chars[i] == '"' && (1..=hashes).all(|n| chars.get(i + n) == Some(&'#')))
        .map(|i| i + 1 + hashes)
}

fn quoted_end(chars: &[char], start: usize, quote: char) -> usize {
    let mut i = start + 1;
    while i < chars.len() && chars[i] != quote {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// Blanks every item behind `#[cfg(test)]`; `code` has no comments or literals left.
pub fn without_tests(code: &str) -> String {
    let mut code = code.to_owned();
    while let Some(start) = code.find("#[cfg(test)]") {
        let mut depth = 0;
        let end = code[start..].char_indices().find_map(|(i, c)| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            let over = depth == 0 && (c == '}' || c == ';');
            over.then_some(start + i + 1)
        });
        let end = end.unwrap_or(code.len());
        let blank: String = code[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        code.replace_range(start..end, &blank);
    }
    code
}
