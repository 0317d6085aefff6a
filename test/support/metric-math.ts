/**
 * Metric math of CloudWatch, as far as the policies of Lovage use it: numbers, ids, `+ - * /`, comparisons, `IF` and `FILL`,
 * for one moment. What has no value there is `undefined`, and so is what is reckoned with it; only `FILL` has a way out.
 * Everything else is an error, so that no expression is taken for understood.
 */
export type Values = Readonly<Record<string, number | undefined>>;

type Value = number | undefined;

/** The value of an expression. @throws for what is not known here */
export function metricMath(expression: string, values: Values): Value {
  const tokens = expression.match(/\d+(?:\.\d+)?|\w+|[<>=!]=|[-+*/<>(),]|\S/g) ?? [];
  const reader = new Reader(tokens, values);
  const value = reader.comparison();
  reader.end();
  return value;
}

/** The one value that a list of metrics and expressions returns; `valueOf` gives that of a metric. */
export function returnedValue<Metric>(
  metrics: readonly {
    readonly Id?: string | undefined;
    readonly Expression?: string | undefined;
    readonly MetricStat?: { readonly Metric?: Metric | undefined } | undefined;
    readonly ReturnData?: boolean | undefined;
  }[],
  valueOfMetric: (metric: Metric) => Value,
): Value {
  const values: Record<string, Value> = {};
  for (const { Id = '', MetricStat } of metrics) if (MetricStat?.Metric) values[Id] = valueOfMetric(MetricStat.Metric);
  for (const { Id = '', Expression } of metrics) if (Expression) values[Id] = metricMath(Expression, values);
  const returned = metrics.filter(({ ReturnData = true }) => ReturnData);
  if (returned.length !== 1) throw new Error(`expected one metric that returns data, got ${returned.length}`);
  return values[returned[0]?.Id ?? ''];
}

const operators: Readonly<Record<string, (a: number, b: number) => number>> = {
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
  '*': (a, b) => a * b,
  '/': (a, b) => a / b,
  '<': (a, b) => Number(a < b),
  '>': (a, b) => Number(a > b),
  '<=': (a, b) => Number(a <= b),
  '>=': (a, b) => Number(a >= b),
  '==': (a, b) => Number(a === b),
  '!=': (a, b) => Number(a !== b),
};

const functions: Readonly<Record<string, (...args: Value[]) => Value>> = {
  IF: (condition, yes, no) => (condition === undefined ? undefined : condition !== 0 ? yes : no),
  FILL: (value, instead) => value ?? instead,
};

class Reader {
  readonly #tokens: readonly string[];
  readonly #values: Values;
  #at = 0;

  constructor(tokens: readonly string[], values: Values) {
    this.#tokens = tokens;
    this.#values = values;
  }

  comparison(): Value {
    return this.#chain(['<', '>', '<=', '>=', '==', '!='], () => this.#chain(['+', '-'], () => this.#product()));
  }

  end(): void {
    if (this.#at < this.#tokens.length) throw new Error(`metric math: unexpected '${this.#tokens[this.#at]}'`);
  }

  #product(): Value {
    return this.#chain(['*', '/'], () => this.#operand());
  }

  #chain(known: readonly string[], operand: () => Value): Value {
    let value = operand();
    for (let name = this.#tokens[this.#at]; name && known.includes(name); name = this.#tokens[this.#at]) {
      this.#at += 1;
      const other = operand();
      const result = value === undefined || other === undefined ? undefined : operators[name]?.(value, other);
      // As after a division by zero: CloudWatch has no such values.
      value = Number.isFinite(result) ? result : undefined;
    }
    return value;
  }

  #operand(): Value {
    const token = this.#tokens[this.#at++];
    if (token === '(') {
      const value = this.comparison();
      this.#take(')');
      return value;
    }
    if (token !== undefined && /^\d/.test(token)) return Number(token);
    if (this.#tokens[this.#at] === '(') return this.#call(token ?? '');
    if (token === undefined || !(token in this.#values)) throw new Error(`metric math: unknown '${token}'`);
    return this.#values[token];
  }

  #call(name: string): Value {
    const act = functions[name];
    if (!act) throw new Error(`metric math: the function ${name} is not known here`);
    this.#take('(');
    const args = [this.comparison()];
    while (this.#tokens[this.#at] === ',') {
      this.#at += 1;
      args.push(this.comparison());
    }
    this.#take(')');
    if (args.length !== act.length) throw new Error(`metric math: ${name} takes ${act.length}, got ${args.length}`);
    return act(...args);
  }

  #take(token: string): void {
    if (this.#tokens[this.#at++] !== token) throw new Error(`metric math: expected '${token}'`);
  }
}
