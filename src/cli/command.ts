/** A command as a table of its options. Each option is said once: its name and its type follow from its line. */
import { Command, Option } from 'commander';
import { harmless, UsageError } from './terminal.ts';

/** An option with these flags, such as `--max-tokens <n>`, that gives such a value. `gives` is there for the types alone. */
type Typed<Flags extends string, Value> = Option & { readonly flags: Flags; readonly gives: Value };

/** What commander gives where nothing reads the text. */
type Plain<Flags> = Flags extends `${string}<${string}` ? string : boolean;
/** An option such as `--stop <text...>` takes several values. */
type Given<Flags, Value> = Flags extends `${string}...>` ? readonly Value[] : Value;

/**
 * @param read makes the value of the text, or lists the texts that are allowed
 * @param otherwise the value where the option is not given
 * @param inWords that value as the help shows it
 */
export function option<
  const Flags extends string,
  const Value = Plain<Flags>,
  Default extends Given<Flags, Value> | undefined = undefined,
>(
  flags: Flags,
  says: string,
  read?: ((text: string, before: Value) => Value) | readonly Value[],
  otherwise?: Default,
  inWords?: string,
): Typed<Flags, Given<Flags, Value> | Default> {
  const made = new Option(flags, says).default(otherwise, inWords);
  if (typeof read === 'function') made.argParser(read);
  else if (read) made.choices(read as readonly string[]);
  return made as typeof made & Typed<Flags, never>;
}

/** An option that must be given. */
export const required = <const Flags extends string>(made: Typed<Flags, string | undefined>) =>
  made.makeOptionMandatory() as Typed<Flags, string>;

/**
 * @param flags options such as `--layer`
 * @throws UsageError where one of them was given that changes nothing there: what the user meant by it does not happen.
 */
export function refuse(of: Command, flags: readonly string[], why: string): void {
  const given = (each: Option) => of.getOptionValueSource(each.attributeName()) === 'cli';
  const idle = of.options.find(each => flags.includes(each.long!) && given(each));
  if (idle) throw new UsageError(`${of.name()}: ${idle.long} changes nothing ${why}`);
}

/** The names in a table, as what an option allows. */
export const namesOf = <Name extends string>(table: Readonly<Record<Name, unknown>>) =>
  Object.keys(table) as Name[];

/** A command; `more` stands at the end of its help. */
export function command(name: string, says: string, options: readonly Option[], more?: string): Command {
  const made = new Command(name).description(says);
  made.exitOverride().showHelpAfterError('(--help shows the options)');
  made.configureOutput({ outputError: (text, write) => write(harmless(text)) });
  for (const each of options) made.addOption(each);
  return more === undefined ? made : made.addHelpText('after', more);
}

/** `max-tokens` → `maxTokens`, as commander does it. */
type Camel<Words> = Words extends `${infer First}-${infer Rest}`
  ? `${First}${Capitalize<Camel<Rest>>}`
  : Words;
type NameOf<Flags> = Flags extends `--${infer Words} <${string}`
  ? Camel<Words>
  : Flags extends `--${infer Words}`
    ? Camel<Words>
    : never;

/** What a command with these options is given. An option that may be undefined may also be missing. */
export type OptionsOf<Table extends readonly Typed<string, unknown>[]> = {
  readonly [Each in Table[number] as NameOf<Each['flags']>]?: Each['gives'];
} & {
  readonly [Each in Table[number] as undefined extends Each['gives']
    ? never
    : NameOf<Each['flags']>]: Each['gives'];
};
