//! Declarations: functions, parameters, variables, registers.

use super::lexer::TokenKind;
use super::parser::Parser;
use super::{
    Function, Initial, Module, Parameter, PtxError, RegisterSet, Space, Statement, Type, Variable,
};

/// Longest chain of array dimensions and deepest nesting of initialisers.
const MAX_DIMENSIONS: usize = 8;

/// Most registers in one range.
const MAX_REGISTERS: u32 = 1 << 20;

impl<'a> Parser<'a> {
    /// A variable or function at module scope.
    pub(super) fn declaration(&mut self, module: &mut Module<'a>) -> Result<(), PtxError> {
        let mut external = false;
        loop {
            let line = self.line();
            let word = self.word()?;
            match word {
                ".visible" | ".weak" | ".common" => {}
                ".extern" => external = true,
                ".entry" | ".func" => {
                    let function = self.function(word == ".entry", line)?;
                    self.push_function(module, function);
                    return Ok(());
                }
                _ => {
                    let Some(space) = space(word) else {
                        return Err(self.unexpected("a declaration"));
                    };
                    self.variables(space, external, |variable| module.variables.push(variable))?;
                    return Ok(());
                }
            }
        }
    }

    /// A register, variable or call parameter inside a function.
    pub(super) fn local_declaration(
        &mut self,
        statements: &mut Vec<Statement<'a>>,
    ) -> Result<(), PtxError> {
        let word = self.word()?;
        if word == ".reg" {
            return self.registers(statements);
        }
        let Some(space) = space(word) else {
            return Err(self.unexpected("a statement"));
        };
        self.variables(space, false, |variable| {
            statements.push(Statement::Variable(variable))
        })
    }

    fn registers(&mut self, statements: &mut Vec<Statement<'a>>) -> Result<(), PtxError> {
        let ty = self.ty()?;
        loop {
            let line = self.line();
            let name = self.word()?;
            let mut count = None;
            if self.accept('<') {
                let length = self.count()?;
                if length > MAX_REGISTERS {
                    return Err(self.error(format!("{length} registers are too many")));
                }
                count = Some(length);
                self.expect('>')?;
            }
            statements.push(Statement::Registers(RegisterSet {
                name,
                count,
                ty,
                line,
            }));
            if !self.accept(',') {
                return self.expect(';');
            }
        }
    }

    fn function(&mut self, entry: bool, line: u32) -> Result<Function<'a>, PtxError> {
        let results = match self.peek() {
            Some(TokenKind::Mark('(')) => self.parameters()?,
            _ => Vec::new(),
        };
        let name = self.word()?;
        let params = match self.peek() {
            Some(TokenKind::Mark('(')) => self.parameters()?,
            _ => Vec::new(),
        };
        let mut max_threads = None;
        self.registers = None;
        let body = loop {
            match self.peek() {
                Some(TokenKind::Mark('{')) => break Some(self.body(0)?),
                Some(TokenKind::Mark(';')) => {
                    self.advance();
                    break None;
                }
                Some(TokenKind::Word(".maxntid" | ".reqntid")) => {
                    self.advance();
                    max_threads = Some(self.extent()?);
                }
                Some(TokenKind::Word(".noreturn")) => self.advance(),
                Some(TokenKind::Word(".pragma")) => self.skip_statement(),
                Some(TokenKind::Word(word)) if word.starts_with('.') => {
                    self.advance();
                    self.performance_hint();
                }
                _ => {
                    self.advance();
                    return Err(self.unexpected("a function's body"));
                }
            }
        };
        Ok(Function {
            name,
            entry,
            results,
            params,
            body,
            max_threads,
            registers: self.registers.take(),
            line,
        })
    }

    /// The numbers after `.minnctapersm` and its like.
    fn performance_hint(&mut self) {
        while matches!(
            self.peek(),
            Some(TokenKind::Number(_) | TokenKind::Mark(','))
        ) {
            self.advance();
        }
    }

    fn extent(&mut self) -> Result<[u32; 3], PtxError> {
        let mut extent = [1; 3];
        for (i, side) in extent.iter_mut().enumerate() {
            if i > 0 && !self.accept(',') {
                break;
            }
            *side = self.count()?;
        }
        Ok(extent)
    }

    fn parameters(&mut self) -> Result<Vec<Parameter<'a>>, PtxError> {
        self.expect('(')?;
        let mut params = Vec::new();
        while !self.accept(')') {
            if !params.is_empty() {
                self.expect(',')?;
            }
            if !self.accept_word(".param") {
                return Err(self.error("a parameter outside .param space is not supported"));
            }
            let variable = self.variable(Space::Param, false)?;
            let Variable {
                name, align, bytes, ..
            } = variable;
            params.push(Parameter { name, align, bytes });
        }
        Ok(params)
    }

    fn variables(
        &mut self,
        space: Space,
        external: bool,
        mut push: impl FnMut(Variable<'a>),
    ) -> Result<(), PtxError> {
        push(self.variable(space, external)?);
        self.expect(';')
    }

    /// `.align 4 .b8 name[16] = {1, 2}`, after the state space.
    fn variable(&mut self, space: Space, external: bool) -> Result<Variable<'a>, PtxError> {
        let line = self.line();
        let mut align = None;
        let mut lanes = 1;
        let mut ty = None;
        let name = loop {
            let word = self.word()?;
            match word {
                ".align" => align = Some(self.count()?),
                ".v2" => lanes = 2,
                ".v4" => lanes = 4,
                // `.ptr .global .align 4` describes what a pointer points to.
                ".ptr" => self.pointee()?,
                ".attribute" => self.skip_parentheses(),
                _ => match word.strip_prefix('.') {
                    Some(rest) => match Type::parse(rest) {
                        Some(known) => ty = Some(known),
                        None => return Err(self.unexpected("a type")),
                    },
                    None => break word,
                },
            }
        };
        let Some(ty) = ty else {
            return Err(self.error(format!("`{name}` has no type")));
        };
        let align = align.unwrap_or(ty.bytes() * lanes);
        if !align.is_power_of_two() {
            return Err(self.error(format!("alignment {align} is not a power of two")));
        }
        let mut elements = Some(u64::from(lanes));
        let mut dimensions = 0;
        while self.accept('[') {
            let length = if self.accept(']') {
                0
            } else {
                let length = self.integer()?;
                self.expect(']')?;
                u64::try_from(length).map_err(|_| self.error("a negative length"))?
            };
            elements = elements.and_then(|n| n.checked_mul(length));
            dimensions += 1;
            if dimensions > MAX_DIMENSIONS {
                return Err(self.error("too many dimensions"));
            }
        }
        let bytes = elements
            .and_then(|n| n.checked_mul(u64::from(ty.bytes())))
            .filter(|&bytes| bytes <= 1 << 40)
            .ok_or_else(|| self.error(format!("`{name}` is too large")))?;
        let mut initial = Vec::new();
        if self.accept('=') {
            self.initial(&mut initial, 0)?;
        }
        let needed = initial.len() as u64 * u64::from(ty.bytes());
        // `x[] = {...}` takes its length from the initialiser.
        let bytes = if bytes == 0 && !external {
            needed
        } else {
            bytes
        };
        if needed > bytes {
            let reason = format!("{needed} bytes of initial values for {bytes} bytes");
            return Err(self.error(reason));
        }
        Ok(Variable {
            name,
            space,
            align,
            bytes,
            ty,
            external,
            initial,
            line,
        })
    }

    fn pointee(&mut self) -> Result<(), PtxError> {
        loop {
            match self.peek() {
                Some(TokenKind::Word(".global" | ".const" | ".shared" | ".local")) => {
                    self.advance();
                }
                Some(TokenKind::Word(".align")) => {
                    self.advance();
                    self.count()?;
                }
                _ => return Ok(()),
            }
        }
    }

    fn initial(&mut self, values: &mut Vec<Initial<'a>>, depth: usize) -> Result<(), PtxError> {
        match self.peek() {
            Some(TokenKind::Mark('{')) if depth < MAX_DIMENSIONS => {
                self.advance();
                let mut first = true;
                while !self.accept('}') {
                    if !first {
                        self.expect(',')?;
                    }
                    first = false;
                    self.initial(values, depth + 1)?;
                }
            }
            Some(TokenKind::Word("generic")) => {
                self.advance();
                self.expect('(')?;
                let name = self.word()?;
                let mut offset = self.offset()?;
                self.expect(')')?;
                offset = offset.wrapping_add(self.offset()?);
                values.push(Initial::Address { name, offset });
            }
            Some(TokenKind::Word(name)) => {
                self.advance();
                values.push(Initial::Address {
                    name,
                    offset: self.offset()?,
                });
            }
            _ => values.push(Initial::Number(self.number()?)),
        }
        Ok(())
    }

    fn skip_parentheses(&mut self) {
        while !matches!(self.peek(), None | Some(TokenKind::Mark(')'))) {
            self.advance();
        }
        self.advance();
    }

    fn ty(&mut self) -> Result<Type, PtxError> {
        let word = self.word()?;
        word.strip_prefix('.')
            .and_then(Type::parse)
            .ok_or_else(|| self.unexpected("a type"))
    }
}

fn space(word: &str) -> Option<Space> {
    Some(match word {
        ".global" => Space::Global,
        ".const" => Space::Constant,
        ".shared" => Space::Shared,
        ".local" => Space::Local,
        ".param" => Space::Param,
        _ => return None,
    })
}
