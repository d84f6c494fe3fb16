/**
 * Korean particles that depend on the sound before them: `을(를)` becomes 을 or 를 after a Hangul syllable or a digit.
 * After a Latin letter both stay, because its reading is not known. Pure.
 */
const pairs: Readonly<Record<string, readonly [afterConsonant: string, afterVowel: string]>> = {
  '을(를)': ['을', '를'],
  '이(가)': ['이', '가'],
  '은(는)': ['은', '는'],
  '과(와)': ['과', '와'],
  '(으)로': ['으로', '로'],
}
const pattern = /([가-힣0-9])([)’”]*)(을\(를\)|이\(가\)|은\(는\)|과\(와\)|\(으\)로)/g
/** Final consonants of 영 일 이 삼 사 오 육 칠 팔 구: none, ㄹ, another. */
const digits = ['other', 'ㄹ', 'none', 'other', 'none', 'none', 'other', 'ㄹ', 'ㄹ', 'none'] as const

export function chooseParticles(text: string): string {
  return text.replace(pattern, (_, before: string, closing: string, particle: string) => {
    const final = finalOf(before)
    // 로 follows ㄹ as it follows a vowel.
    const vowel = final === 'none' || (particle === '(으)로' && final === 'ㄹ')
    return before + closing + (pairs[particle]?.[vowel ? 1 : 0] ?? particle)
  })
}

function finalOf(character: string): 'none' | 'ㄹ' | 'other' {
  const digit = '0123456789'.indexOf(character)
  if (digit >= 0) return digits[digit] ?? 'none'
  const final = (character.charCodeAt(0) - 0xac00) % 28
  return final === 0 ? 'none' : final === 8 ? 'ㄹ' : 'other'
}
