/** Uploaded files, in S3. */
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';

const Bucket = process.env.CSV_IMPORT_BUCKET ?? 'csv-import';
let client: S3Client | undefined;

/** Region, credentials and endpoint come from the environment, as for every client of AWS. */
function s3(): S3Client {
  client ??= new S3Client({ forcePathStyle: process.env.CSV_IMPORT_LOCAL === 'yes' });
  return client;
}

export async function storeUpload(upload: string, data: Uint8Array): Promise<void> {
  await s3().send(new PutObjectCommand({ Bucket, Key: `uploads/${upload}.csv`, Body: data }));
}

export async function fetchUpload(upload: string): Promise<Buffer> {
  const { Body } = await s3().send(new GetObjectCommand({ Bucket, Key: `uploads/${upload}.csv` }));
  if (!Body) throw new Error(`upload ${upload} is empty`);
  return Buffer.from(await Body.transformToByteArray());
}
