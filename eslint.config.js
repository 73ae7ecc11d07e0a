// Rules for the page's JavaScript, which browsers run as it stands.
import js from '@eslint/js';
import globals from 'globals';

export default [
  { ignores: ['.venv/', '.twin/', 'htmlcov/'] },
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      curly: ['error', 'multi-line'],
      eqeqeq: 'error',
      'no-eval': 'error',
      'no-implied-eval': 'error',
      'no-new-func': 'error',
      'no-shadow': 'error',
      'no-unused-private-class-members': 'error',
      'no-use-before-define': ['error', { functions: false, classes: false, variables: false }],
      'no-unused-vars': ['error', { ignoreRestSiblings: true }],
      'no-var': 'error',
      'object-shorthand': 'error',
      'prefer-const': 'error',
      'prefer-template': 'error',
      'no-restricted-properties': [
        'error',
        ...['innerHTML', 'outerHTML', 'insertAdjacentHTML'].map((property) => ({
          property,
          message: 'Text enters the page as text only: use element() of dom.js.',
        })),
      ],
    },
  },
  { files: ['viewer/static/js/**'], languageOptions: { globals: { ...globals.browser, deck: 'readonly' } } },
  { files: ['tests/js/**', '*.js'], languageOptions: { globals: globals.node } },
];
