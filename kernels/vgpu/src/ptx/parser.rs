//! Tokens into the syntax tree: the module's outline and instructions.

use super::lexer::{Token, TokenKind, tokens};
use super::{
    Address, Function, Guard, Instruction, Module, Number, Operand, PtxError, SourceLine, Statement,
};

/// Deepest nesting of `{ }` that is read.
const MAX_DEPTH: usize = 64;

/// Reads a PTX module.
pub fn parse(source: &str) -> Result<Module<'_>, PtxError> {
    Parser {
        source,
        tokens: tokens(source)?,
        at: 0,
        location: None,
        registers: None,
    }
    .module()
}

pub(super) struct Parser<'a> {
    source: &'a str,
    tokens: Vec<Token<'a>>,
    at: usize,
    /// The last `.loc`.
    location: Option<SourceLine>,
    /// What a pragma of the function at hand says.
    pub(super) registers: Option<u32>,
}

impl<'a> Parser<'a> {
    fn module(mut self) -> Result<Module<'a>, PtxError> {
        let mut module = Module::default();
        while let Some(token) = self.peek() {
            match token {
                TokenKind::Word(".version") => {
                    self.advance();
                    // "9.0" reads as a number; the text is wanted.
                    module.version = self.rest_of_line();
                }
                TokenKind::Word(".target") => {
                    self.advance();
                    module.target = self.rest_of_line();
                }
                TokenKind::Word(".address_size") => {
                    self.advance();
                    if self.integer()? != 64 {
                        return Err(self.error("only 64-bit addresses are supported"));
                    }
                }
                TokenKind::Word(".file") => {
                    self.advance();
                    let number = self.integer()? as u32;
                    if let Some(TokenKind::Text(path)) = self.next() {
                        module.files.insert(number, path);
                    }
                    self.skip_line();
                }
                TokenKind::Word(".section") => self.skip_braces()?,
                TokenKind::Word(".pragma" | ".alias") => self.skip_statement(),
                TokenKind::Word(".loc") => self.loc()?,
                _ => self.declaration(&mut module)?,
            }
        }
        Ok(module)
    }

    /// The statements up to the closing brace.
    pub(super) fn body(&mut self, depth: usize) -> Result<Vec<Statement<'a>>, PtxError> {
        if depth > MAX_DEPTH {
            return Err(self.error("blocks are nested too deep"));
        }
        self.expect('{')?;
        let mut statements = Vec::new();
        loop {
            match self.peek() {
                None => return Err(self.error("a block does not end")),
                Some(TokenKind::Mark('}')) => {
                    self.advance();
                    return Ok(statements);
                }
                Some(TokenKind::Mark('{')) => {
                    statements.push(Statement::Block(self.body(depth + 1)?));
                }
                Some(TokenKind::Mark(';')) => self.advance(),
                Some(TokenKind::Word(".loc")) => self.loc()?,
                Some(TokenKind::Word(".pragma")) => self.pragma()?,
                Some(TokenKind::Word(word)) if word.starts_with('.') => {
                    self.local_declaration(&mut statements)?;
                }
                Some(TokenKind::Word(name)) if self.peek_at(1) == Some(TokenKind::Mark(':')) => {
                    self.at += 2;
                    match self.peek() {
                        Some(TokenKind::Word(".branchtargets")) => {
                            self.advance();
                            let labels = self.names()?;
                            statements.push(Statement::Targets { name, labels });
                        }
                        Some(TokenKind::Word(".callprototype")) => self.skip_statement(),
                        _ => statements.push(Statement::Label(name)),
                    }
                }
                Some(_) => statements.push(Statement::Instruction(self.instruction()?)),
            }
        }
    }

    fn instruction(&mut self) -> Result<Instruction<'a>, PtxError> {
        let mut guard = None;
        if self.accept('@') {
            let negated = self.accept('!');
            guard = Some(Guard {
                name: self.word()?,
                negated,
            });
        }
        let line = self.line();
        let opcode = self.word()?;
        let mut operands = Vec::new();
        while !self.accept(';') {
            if !operands.is_empty() {
                self.expect(',')?;
            }
            operands.push(self.operand(0)?);
        }
        Ok(Instruction {
            guard,
            opcode,
            operands,
            line,
            source: self.location,
        })
    }

    fn operand(&mut self, depth: usize) -> Result<Operand<'a>, PtxError> {
        if depth > 2 {
            return Err(self.error("operands are nested too deep"));
        }
        let first = match self.peek() {
            Some(TokenKind::Mark('[')) => return self.address(),
            Some(TokenKind::Mark('{')) => return self.sequence('}', depth).map(Operand::Vector),
            Some(TokenKind::Mark('(')) => return self.sequence(')', depth).map(Operand::List),
            Some(TokenKind::Mark('!')) => {
                self.advance();
                return Ok(Operand::Not(self.word()?));
            }
            Some(TokenKind::Mark('-') | TokenKind::Number(_)) => {
                return self.number().map(Operand::Number);
            }
            _ => self.word()?,
        };
        match self.peek() {
            Some(TokenKind::Mark('|')) => {
                self.advance();
                let second = self.operand(depth + 1)?;
                Ok(Operand::Pair(Box::new([Operand::Name(first), second])))
            }
            Some(TokenKind::Mark('+' | '-')) => Ok(Operand::Offset(first, self.offset()?)),
            _ => Ok(Operand::Name(first)),
        }
    }

    fn sequence(&mut self, close: char, depth: usize) -> Result<Vec<Operand<'a>>, PtxError> {
        self.advance();
        let mut items = Vec::new();
        while !self.accept(close) {
            if !items.is_empty() {
                self.expect(',')?;
            }
            items.push(self.operand(depth + 1)?);
        }
        Ok(items)
    }

    /// `[base+offset]`; a tensor map's `[map, {x, y}]` reads as a list.
    fn address(&mut self) -> Result<Operand<'a>, PtxError> {
        self.expect('[')?;
        let base = match self.peek() {
            Some(TokenKind::Word(name)) => {
                self.advance();
                Some(name)
            }
            _ => None,
        };
        let offset = self.offset()?;
        let address = Operand::Address(Address { base, offset });
        if self.accept(']') {
            return Ok(address);
        }
        let mut items = vec![address];
        while !self.accept(']') {
            self.expect(',')?;
            items.push(self.operand(1)?);
        }
        Ok(Operand::List(items))
    }

    /// A sum of signed integers, possibly empty.
    pub(super) fn offset(&mut self) -> Result<i64, PtxError> {
        let mut sum = 0i64;
        loop {
            match self.peek() {
                Some(TokenKind::Mark('+')) => self.advance(),
                Some(TokenKind::Mark('-') | TokenKind::Number(_)) => {}
                _ => return Ok(sum),
            }
            sum = sum.wrapping_add(self.integer()?);
        }
    }

    /// `.pragma` inside a function. Those that nobody knows are ignored (PTX ISA 11.4).
    fn pragma(&mut self) -> Result<(), PtxError> {
        self.advance();
        while let Some(TokenKind::Text(text)) = self.peek() {
            if let Some(number) = text.strip_prefix("gamut registers ") {
                let registers = number.parse().ok().filter(|n| (1..=255).contains(n));
                let wrong = || self.error(format!("{number} registers, not 1 to 255"));
                self.registers = Some(registers.ok_or_else(wrong)?);
            }
            self.advance();
            self.accept(',');
        }
        self.expect(';')
    }

    /// `.loc file line column`, with or without the place of inlining.
    fn loc(&mut self) -> Result<(), PtxError> {
        self.advance();
        let file = self.integer()? as u32;
        let line = self.integer()? as u32;
        // NVRTC writes line 0 for code without a line of its own.
        self.location = (line != 0).then_some(SourceLine { file, line });
        self.skip_line();
        Ok(())
    }

    fn names(&mut self) -> Result<Vec<&'a str>, PtxError> {
        let mut names = vec![self.word()?];
        while self.accept(',') {
            names.push(self.word()?);
        }
        self.expect(';')?;
        Ok(names)
    }

    /// Adds a kernel or a function to `module`.
    pub(super) fn push_function(&self, module: &mut Module<'a>, function: Function<'a>) {
        // A definition replaces an earlier declaration.
        module
            .functions
            .retain(|f| f.name != function.name || f.body.is_some());
        module.functions.push(function);
    }

    pub(super) fn number(&mut self) -> Result<Number, PtxError> {
        let negative = self.accept('-');
        match self.next() {
            Some(TokenKind::Number(n)) => Ok(if negative { n.negate() } else { n }),
            _ => Err(self.unexpected("a number")),
        }
    }

    pub(super) fn integer(&mut self) -> Result<i64, PtxError> {
        match self.number()? {
            Number::Integer(value) => Ok(value as i64),
            _ => Err(self.unexpected("an integer")),
        }
    }

    /// An integer that counts something.
    pub(super) fn count(&mut self) -> Result<u32, PtxError> {
        let value = self.integer()?;
        u32::try_from(value).map_err(|_| self.error(format!("{value} is out of range")))
    }

    pub(super) fn word(&mut self) -> Result<&'a str, PtxError> {
        match self.next() {
            Some(TokenKind::Word(word)) => Ok(word),
            _ => Err(self.unexpected("a name")),
        }
    }

    pub(super) fn accept(&mut self, mark: char) -> bool {
        let found = self.peek() == Some(TokenKind::Mark(mark));
        self.at += usize::from(found);
        found
    }

    pub(super) fn accept_word(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(TokenKind::Word(word));
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, mark: char) -> Result<(), PtxError> {
        if self.accept(mark) {
            return Ok(());
        }
        self.at += 1;
        Err(self.unexpected(&format!("`{mark}`")))
    }

    pub(super) fn peek(&self) -> Option<TokenKind<'a>> {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> Option<TokenKind<'a>> {
        self.tokens.get(self.at + ahead).map(|token| token.kind)
    }

    fn next(&mut self) -> Option<TokenKind<'a>> {
        let token = self.peek();
        self.at += 1;
        token
    }

    pub(super) fn advance(&mut self) {
        self.at += 1;
    }

    pub(super) fn skip_statement(&mut self) {
        while !matches!(self.next(), None | Some(TokenKind::Mark(';'))) {}
    }

    fn skip_line(&mut self) {
        let Some(line) = self
            .tokens
            .get(self.at.saturating_sub(1))
            .map(|token| token.line)
        else {
            return;
        };
        while self
            .tokens
            .get(self.at)
            .is_some_and(|token| token.line == line)
        {
            self.at += 1;
        }
    }

    /// The text from here to the end of its line.
    fn rest_of_line(&mut self) -> &'a str {
        let line = self.line();
        let text = self.source.lines().nth(line as usize - 1).unwrap_or("");
        self.advance();
        self.skip_line();
        let text = text.split("//").next().unwrap_or("").trim();
        text.split_once(char::is_whitespace)
            .map_or("", |(_, value)| value.trim())
    }

    fn skip_braces(&mut self) -> Result<(), PtxError> {
        while self.peek().is_some() && self.peek() != Some(TokenKind::Mark('{')) {
            self.advance();
        }
        let mut depth = 0usize;
        loop {
            match self.next() {
                Some(TokenKind::Mark('{')) => depth += 1,
                Some(TokenKind::Mark('}')) => depth -= 1,
                Some(_) => {}
                None => return Err(self.error("a section does not end")),
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// The line of the next token, or of the last.
    pub(super) fn line(&self) -> u32 {
        let token = self.tokens.get(self.at).or(self.tokens.last());
        token.map_or(1, |token| token.line)
    }

    pub(super) fn error(&self, reason: impl Into<String>) -> PtxError {
        PtxError::new(self.source, self.line(), reason)
    }

    /// An error about the token just taken.
    pub(super) fn unexpected(&self, wanted: &str) -> PtxError {
        let token = self.tokens.get(self.at.saturating_sub(1));
        let line = token.map_or_else(|| self.line(), |token| token.line);
        let found = match token.map(|token| token.kind) {
            Some(TokenKind::Word(word)) => format!("`{word}`"),
            Some(TokenKind::Mark(mark)) => format!("`{mark}`"),
            Some(TokenKind::Number(_)) => "a number".to_owned(),
            Some(TokenKind::Text(_)) => "a string".to_owned(),
            None => "the end".to_owned(),
        };
        PtxError::new(
            self.source,
            line,
            format!("expected {wanted}, found {found}"),
        )
    }
}
