/** IP addresses as numbers: what lists and tables of addresses work with. The document's rules read them the same way. */
export { parseAddress, type AddressWords } from '../../config/address-words.ts'
