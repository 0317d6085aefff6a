/** Looks whether a template of CloudFormation is what AWS says of its resources, as its own CDK has it. */
import { loadAwsServiceSpecSync } from '@aws-cdk/aws-service-spec';
import type { PropertyType } from '@aws-cdk/service-spec-types';
import type { Template } from '../../src/aws/template/template.ts';

let loaded: ReturnType<typeof loadAwsServiceSpecSync> | undefined;
/** Read once: it is large. */
function awsSpec() {
  loaded ??= loadAwsServiceSpecSync();
  return loaded;
}

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isIntrinsic = (value: unknown) => isMap(value) && Object.keys(value).some((key) => /^(Ref|Fn::\w+)$/.test(key));

/** What is wrong with a value, by the type that the specification gives it. */
function faultsOf(value: unknown, type: PropertyType, where: string): string[] {
  if (isIntrinsic(value)) return [];
  switch (type.type) {
    case 'ref': {
      const { properties, name } = awsSpec().get('typeDefinition', type.reference.$ref);
      return isMap(value) ? faultsIn(value, properties, where) : [`${where}: expected ${name}`];
    }
    case 'array':
      if (!Array.isArray(value)) return [`${where}: expected a list`];
      return value.flatMap((one, i) => faultsOf(one, type.element, `${where}[${i}]`));
    case 'map':
      if (!isMap(value)) return [`${where}: expected a map`];
      return Object.entries(value).flatMap(([key, one]) => faultsOf(one, type.element, `${where}.${key}`));
    case 'union': {
      const tries = type.types.map((one) => faultsOf(value, one, where));
      return tries.some((faults) => faults.length === 0) ? [] : (tries[0] ?? []);
    }
    case 'string':
      return typeof value === 'string' ? [] : [`${where}: expected a text`];
    case 'integer':
    case 'number':
      return typeof value === 'number' ? [] : [`${where}: expected a number`];
    case 'boolean':
      return typeof value === 'boolean' ? [] : [`${where}: expected true or false`];
    default:
      return [];
  }
}

/** What is wrong with properties, by those that there are. */
function faultsIn(
  given: Record<string, unknown>,
  known: Readonly<Record<string, { readonly type: PropertyType; readonly required?: boolean }>>,
  where: string,
): string[] {
  const missing = Object.entries(known).filter(([name, { required }]) => required && !(name in given));
  return [
    ...missing.map(([name]) => `${where}: ${name} is missing`),
    ...Object.entries(given).flatMap(([name, value]) => {
      const property = known[name];
      return property ? faultsOf(value, property.type, `${where}.${name}`) : [`${where}: there is no ${name}`];
    }),
  ];
}

/** A reference to something by name, perhaps to an attribute of it. */
type Reference = readonly [name: string, attribute?: string];

/** Every reference in a part of a template. */
function refsIn(value: unknown): Reference[] {
  if (Array.isArray(value)) return value.flatMap(refsIn);
  if (!isMap(value)) return [];
  const { Ref, 'Fn::GetAtt': attribute, 'Fn::Sub': text } = value;
  const inText = [...String(text ?? '').matchAll(/\$\{([\w:]+)(?:\.(\w+))?\}/g)];
  return [
    ...(typeof Ref === 'string' ? [[Ref] as const] : []),
    ...(Array.isArray(attribute) ? [[String(attribute[0]), String(attribute[1])] as const] : []),
    ...inText.map(([, name = '', of]): Reference => (of === undefined ? [name] : [name, of])),
    ...Object.values(value).flatMap(refsIn),
  ];
}

function resourceSpec(type: string) {
  return awsSpec().lookup('resource', 'cloudFormationType', 'equals', type)[0];
}

/** What is wrong with the properties of one resource. */
export function propertyFaults(type: string, properties: Record<string, unknown>, name: string): string[] {
  const resource = resourceSpec(type);
  return resource ? faultsIn(properties, resource.properties, name) : [`${name}: there is no ${type}`];
}

/** What is wrong with a template: types, properties, and references to what is not there. */
export function templateFaults({ Resources, Parameters, Conditions, Outputs }: Template): string[] {
  const properties = Object.entries(Resources).flatMap(([name, { Type, Properties, Condition }]) => [
    ...propertyFaults(Type, Properties, name),
    ...(Condition === undefined || Condition in Conditions ? [] : [`${name}: there is no condition ${Condition}`]),
  ]);
  const references = refsIn([Resources, Conditions, Outputs]).flatMap(([name, attribute]) => {
    if (name.startsWith('AWS::')) return [];
    const resource = Resources[name];
    if (attribute === undefined) return resource || name in Parameters ? [] : [`there is no ${name}`];
    const attributes = resource ? (resourceSpec(resource.Type)?.attributes ?? {}) : {};
    return attribute in attributes ? [] : [`there is no ${name}.${attribute}`];
  });
  const unused = Object.keys(Parameters).filter((name) => !refsIn([Resources, Conditions]).some(([at]) => at === name));
  return [...properties, ...references, ...unused.map((name) => `nothing uses the parameter ${name}`)];
}
